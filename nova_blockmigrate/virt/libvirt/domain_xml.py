"""Domain XML: from a server to what libvirt defines, and from a live domain's XML to facts of it. Pure, no I/O."""

from __future__ import annotations

import dataclasses
from pathlib import PurePath
from typing import Any

from lxml import etree
from lxml.builder import E, ElementMaker

from nova_blockmigrate.objects import Server, Vif, VifType

METADATA_NAMESPACE = "https://nova-blockmigrate.org/xmlns/instance/1.0"
_META = ElementMaker(namespace=METADATA_NAMESPACE, nsmap={"blockmigrate": METADATA_NAMESPACE})


@dataclasses.dataclass(frozen=True)
class DomainSettings:
    """What a host's configuration says about all domains."""

    virt_type: str
    machine: str
    cpu_mode: str
    cpu_model: str = ""
    cache_mode: str = "none"
    arch: str = "x86_64"


@dataclasses.dataclass(frozen=True)
class DomainDisk:
    """A disk as a live domain's XML lists it."""

    target_dev: str
    device: str
    source_type: str
    readonly: bool
    path: str
    format: str
    shareable: bool = False
    transient: bool = False
    encrypted: bool = False
    names_backing: bool = False
    """The XML itself names the files below it, instead of leaving that to the file's own header."""
    serial: str = ""
    """Of a volume its id."""


@dataclasses.dataclass(frozen=True)
class Attachment:
    """What an interface of a live domain hangs on: the port of a bridge, or (macvtap) a device of the host."""

    mac: str
    tap: str
    bridge: str
    device: str


def instance_directory(instances_path: str, uuid: str) -> PurePath:
    """Where the files of a server lie."""
    return PurePath(instances_path) / uuid


def console_log(instances_path: str, uuid: str) -> str:
    """What a server's serial console has said."""
    return str(instance_directory(instances_path, uuid) / "console.log")


def build(server: Server, settings: DomainSettings, instances_path: str, root_disk: str = "") -> str:
    """The XML to define a server with; `root_disk`: that of the disk that it boots from, when this is none in its directory."""
    directory = instance_directory(instances_path, server.uuid)
    domain = E.domain(
        E.name(server.domain_name),
        E.uuid(server.uuid),
        E.metadata(_META.instance(_META.name(server.display_name))),
        E.memory(str(server.memory_mib), unit="MiB"),
        E.vcpu(str(server.vcpus)),
        E.os(E.type("hvm", arch=settings.arch, machine=settings.machine), E.boot(dev="hd")),
        E.features(E.acpi(), E.apic()),
        *_cpu(settings),
        E.clock(offset="utc"),
        E.on_poweroff("destroy"),
        E.on_reboot("restart"),
        E.on_crash("destroy"),
        E.devices(
            etree.fromstring(root_disk) if root_disk else _disk(str(directory / "disk"), settings.cache_mode),
            *(_interface(vif) for vif in server.vifs),
            *_console(console_log(instances_path, server.uuid)),
            E.memballoon(model="none"),
        ),
        type=settings.virt_type,
    )
    text: str = etree.tostring(domain, pretty_print=True, encoding="unicode")
    return text


def _cpu(settings: DomainSettings) -> list[Any]:
    if settings.cpu_mode == "none":
        return []
    if settings.cpu_mode == "custom":
        return [E.cpu(E.model(settings.cpu_model, fallback="forbid"), mode="custom", match="exact")]
    return [E.cpu(mode=settings.cpu_mode)]


def _disk(path: str, cache_mode: str) -> Any:
    return E.disk(
        E.driver(name="qemu", type="qcow2", cache=cache_mode, discard="unmap", detect_zeroes="unmap"),
        E.source(file=path),
        E.target(dev="vda", bus="virtio"),
        type="file",
        device="disk",
    )


def _interface(vif: Vif) -> Any:
    return E.interface(
        E.mac(address=vif.mac),
        E.source(bridge=vif.bridge),
        E.target(dev=vif.tap),
        *([E.virtualport(E.parameters(interfaceid=vif.port_id), type="openvswitch")] if vif.vif_type is VifType.OVS else []),
        E.model(type="virtio"),
        E.mtu(size=str(vif.mtu)),
        type="bridge",
    )


def _console(path: str) -> list[Any]:
    # append: a migration must not truncate what the guest has written so far
    return [
        E.serial(E.source(path=path, append="on"), E.target(port="0"), type="file"),
        E.console(E.source(path=path, append="on"), E.target(type="serial", port="0"), type="file"),
    ]


# --- reading a live domain's XML ----------------------------------------------------------------------------------------


class DomainFacts:
    """What the XML of a domain says."""

    def __init__(self, xml: str) -> None:
        self._tree: Any = etree.fromstring(xml.encode())

    @property
    def arch(self) -> str:
        return str(self._tree.find("os/type").get("arch", ""))

    @property
    def machine_type(self) -> str:
        return str(self._tree.find("os/type").get("machine", ""))

    @property
    def virt_type(self) -> str:
        return str(self._tree.get("type", ""))

    @property
    def memory_mib(self) -> int:
        return int(self._tree.findtext("memory", "0")) // 1024  # libvirt writes KiB, always

    @property
    def vcpus(self) -> int:
        return int(self._tree.findtext("vcpu", "0"))

    @property
    def cpu_xml(self) -> str:
        """The guest's CPU, as libvirt's comparison takes it; empty when it names no model."""
        cpu = self._tree.find("cpu")
        return "" if cpu is None or cpu.find("model") is None else etree.tostring(cpu, encoding="unicode", with_tail=False)

    @property
    def cpu_model(self) -> str:
        return str(self._tree.findtext("cpu/model", ""))

    @property
    def disks(self) -> tuple[DomainDisk, ...]:
        return tuple(_read_disk(node) for node in self._tree.iterfind("devices/disk"))

    @property
    def bridges(self) -> tuple[str, ...]:
        """Bridges that the interfaces hang on, in order, each once."""
        nodes = self._tree.iterfind("devices/interface[@type='bridge']/source")
        return tuple(dict.fromkeys(node.get("bridge", "") for node in nodes))

    @property
    def ovs_bridges(self) -> tuple[str, ...]:
        """Those of them that are Open vSwitch's."""
        found = self._tree.xpath("devices/interface[@type='bridge'][virtualport/@type='openvswitch']/source/@bridge")
        return tuple(dict.fromkeys(map(str, found)))

    @property
    def libvirt_networks(self) -> tuple[str, ...]:
        """libvirt networks that interfaces hang on, each once."""
        return tuple(dict.fromkeys(map(str, self._tree.xpath("devices/interface[@type='network']/source/@network"))))

    @property
    def host_devices(self) -> tuple[str, ...]:
        """Devices of the host that a guest may have on any host that has them: under macvtap interfaces, in drives."""
        links = [f"/sys/class/net/{name}" for name in self._tree.xpath("devices/interface[@type='direct']/source/@dev")]
        drives = self._tree.xpath("devices/disk[@type='block' and (readonly or @device='cdrom')]/source/@dev")
        return tuple(dict.fromkeys([*links, *map(str, drives)]))

    @property
    def interfaces(self) -> tuple[str, ...]:
        """Network interfaces in words, for people."""
        return tuple(_interface_in_words(node) for node in self._tree.iterfind("devices/interface"))

    @property
    def attachments(self) -> tuple[Attachment, ...]:
        """Of the interfaces that hang on a Linux bridge or on a device, however the XML names it."""
        nodes = self._tree.xpath("devices/interface[mac and source and not(virtualport)]")
        return tuple(_attachment(node) for node in nodes if node.find("source").get("bridge") or node.find("source").get("dev"))

    @property
    def volumes(self) -> tuple[str, ...]:
        """Disks that lie on the network, in words."""
        nodes = self._tree.iterfind("devices/disk[@type='network']")
        return tuple(f"{node.find('target').get('dev')}: {_source_in_words(node)}" for node in nodes)

    @property
    def character_files(self) -> tuple[str, ...]:
        """Files and sockets that QEMU makes for serial ports, consoles and channels, each once."""
        kinds = "self::serial or self::console or self::parallel or self::channel"
        paths = f"devices/*[{kinds}][@type='file']/source/@path | devices/*[{kinds}]/log/@file"
        sockets = f"devices/*[{kinds}][@type='unix']/source[@mode='bind']/@path"
        return tuple(dict.fromkeys(map(str, self._tree.xpath(f"{paths} | {sockets}"))))

    @property
    def boot_files(self) -> tuple[str, ...]:
        """Files that QEMU reads at each start, and that belong to no package: kernel, initial ramdisk, tables."""
        return tuple(dict.fromkeys(str(path).strip() for path in self._tree.xpath(_BOOT_FILES)))

    @property
    def nvram(self) -> tuple[str, str]:
        """Path and format of the file with the firmware's variables; empty when there is none."""
        node = self._tree.find("os/nvram")
        if node is None or node.get("type", "file") != "file":
            return "", ""
        source = node.find("source")
        path = (node.text or "").strip() if source is None else source.get("file", "")
        return path, node.get("format", "raw")


def _interface_in_words(node: Any) -> str:
    mac, source = node.find("mac"), node.find("source")
    named = "" if source is None else next((source.get(key) for key in ("bridge", "network", "dev", "path") if source.get(key)), "")
    return " ".join(part for part in ("" if mac is None else mac.get("address", ""), node.get("type", ""), named) if part)


def _attachment(node: Any) -> Attachment:
    source, target = node.find("source"), node.find("target")
    tap = "" if target is None else target.get("dev", "")
    return Attachment(node.find("mac").get("address", ""), tap, source.get("bridge", ""), source.get("dev", ""))


def _source_in_words(node: Any) -> str:
    source = node.find("source")
    return "" if source is None else f"{source.get('protocol', '')} {source.get('name', '')}".strip()


_BOOT_FILES = "os/kernel/text() | os/initrd/text() | os/dtb/text() | os/acpi/table/text()"


def _read_disk(node: Any) -> DomainDisk:
    source, driver = node.find("source"), node.find("driver")
    path = "" if source is None else source.get("file") or source.get("dev") or ""
    return DomainDisk(
        target_dev=node.find("target").get("dev"),
        device=node.get("device", "disk"),
        source_type=node.get("type", ""),
        readonly=node.find("readonly") is not None or node.get("device") == "cdrom",
        path=path,
        format="" if driver is None else driver.get("type", ""),
        shareable=node.find("shareable") is not None,
        transient=node.find("transient") is not None,
        encrypted=node.find(".//encryption") is not None,
        names_backing=node.find("backingStore[@type]") is not None,
        serial=node.findtext("serial", ""),
    )


def with_disk_paths(xml: str, paths: dict[str, str]) -> str:
    """The XML with other source files for the disks named (target device: path). Explicit backing chains of those are
    dropped, so that the destination's libvirt looks at the files it really has."""
    tree: Any = etree.fromstring(xml.encode())
    for node in tree.iterfind("devices/disk"):
        path = paths.get(node.find("target").get("dev"))
        if path is None:
            continue
        node.find("source").set("file", path)
        for backing in node.findall("backingStore"):
            node.remove(backing)
    return str(etree.tostring(tree, encoding="unicode"))
