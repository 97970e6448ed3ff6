"""How distributions name packages, files and commands, as far as remedies speak of them."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Layout:
    """One family of distributions."""

    name: str
    libvirt_packages: str
    qemu_packages: str
    network_packages: str
    open_ports: str
    """Command that opens {ports} (as first-last or one number, tcp) in the usual firewall."""
    ntp: str


DEBIAN = Layout(
    name="Debian/Ubuntu",
    libvirt_packages="apt-get install libvirt-daemon-system",
    qemu_packages="apt-get install qemu-system-x86 qemu-utils",
    network_packages="apt-get install iproute2 nftables conntrack",
    open_ports="ufw allow {ufw}/tcp",
    ntp="apt-get install chrony",
)
RHEL = Layout(
    name="RHEL",
    libvirt_packages="dnf install libvirt-daemon-kvm",
    qemu_packages="dnf install qemu-kvm qemu-img",
    network_packages="dnf install iproute nftables conntrack-tools",
    open_ports="firewall-cmd --permanent --add-port={ports}/tcp && firewall-cmd --reload",
    ntp="dnf install chrony && systemctl enable --now chronyd",
)
_RHEL_LIKE = {"rhel", "fedora", "centos", "rocky", "almalinux", "ol"}


def choose(os_release: str) -> Layout:
    """The layout for the content of /etc/os-release."""
    values = dict(line.split("=", 1) for line in os_release.splitlines() if "=" in line)
    words = f"{values.get('ID', '')} {values.get('ID_LIKE', '')}".replace('"', "").replace("'", "").split()
    return RHEL if _RHEL_LIKE & set(words) else DEBIAN


def open_ports(layout: Layout, first: int, last: int | None = None) -> str:
    """The command that lets a port, or a range of them, through."""
    ports = f"{first}" if last is None else f"{first}-{last}"
    return layout.open_ports.format(ports=ports, ufw=ports.replace("-", ":"))


@dataclasses.dataclass(frozen=True)
class Daemon:
    """The libvirt daemon that listens to other hosts: the one of old, or the proxy of the modular ones."""

    name: str
    configuration: str

    def listen(self, transport: str) -> str:
        """How to have it listen."""
        others = "" if self.name == "libvirtd" else " (virtqemud.socket must be enabled, too)"
        return f"systemctl stop {self.name}.service; systemctl enable --now {self.name}-{transport}.socket{others}"

    @property
    def restart(self) -> str:
        return f"systemctl restart {self.name}.service"


LIBVIRTD = Daemon("libvirtd", "/etc/libvirt/libvirtd.conf")
VIRTPROXYD = Daemon("virtproxyd", "/etc/libvirt/virtproxyd.conf")
