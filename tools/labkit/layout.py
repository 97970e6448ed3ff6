"""Names, paths and addresses of one laboratory, all derived from its state folder, so that two can stand side by side."""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from labkit.errors import LabError

REPOSITORY = Path(__file__).resolve().parents[2]
CACHE = REPOSITORY / ".cache"
VENV = REPOSITORY / ".venv"
CONTROLLER = "controller"
FABRIC_ADDRESS = 254
API_PORT = 8774

# Inside each machine.
INSTANCES = "/var/lib/nova/instances"
PRODUCT_STATE = "/var/lib/nova-blockmigrate"
IMAGES = f"{PRODUCT_STATE}/images"
CONFIGURATION = "/etc/nova-blockmigrate"
# A machine mounts these away, so a state folder below them could not be seen from inside.
_HIDDEN = (
    "/run",
    "/var/run",
    "/etc/libvirt",
    "/var/lib/libvirt",
    "/var/log/libvirt",
    "/var/cache/libvirt",
    "/var/lib/nova",
    PRODUCT_STATE,
    CONFIGURATION,
    "/proc",
    "/sys",
    "/dev",
)


@dataclass(frozen=True)
class Machine:
    """One of the laboratory's machines: the controller (which is the fabric, too) or a compute host."""

    name: str
    number: int
    folder: Path
    namespace: str
    management_ip: str
    tenant_ip: str | None

    @property
    def is_controller(self) -> bool:
        return self.name == CONTROLLER

    @property
    def host_uuid(self) -> str:
        """libvirt refuses to migrate between hosts with the same UUID."""
        digest = hashlib.sha256(f"{self.namespace}".encode()).hexdigest()
        return f"{digest[:8]}-{digest[8:12]}-4{digest[13:16]}-8{digest[17:20]}-{digest[20:32]}"


@dataclass(frozen=True)
class Layout:
    """Where everything of the laboratory in `state` is."""

    state: Path
    hosts_count: int = 2

    @property
    def id(self) -> str:
        return hashlib.sha256(str(self.state).encode()).hexdigest()[:4]

    @property
    def _octet(self) -> int:
        """Even, below 250: the management network; the next one is the tenant network."""
        return int(hashlib.sha256(str(self.state).encode()).hexdigest()[4:8], 16) % 125 * 2

    @property
    def management_prefix(self) -> str:
        return f"10.{self._octet}.0"

    @property
    def tenant_prefix(self) -> str:
        return f"10.{self._octet + 1}.0"

    @property
    def tenant_cidr(self) -> str:
        return f"{self.tenant_prefix}.0/24"

    @property
    def controller(self) -> Machine:
        return Machine(
            CONTROLLER,
            FABRIC_ADDRESS,
            self.state / CONTROLLER,
            f"nbm-{self.id}-{CONTROLLER}",
            f"{self.management_prefix}.{FABRIC_ADDRESS}",
            f"{self.tenant_prefix}.{FABRIC_ADDRESS}",
        )

    @property
    def hosts(self) -> tuple[Machine, ...]:
        return tuple(self._host(number) for number in range(1, self.hosts_count + 1))

    def _host(self, number: int) -> Machine:
        name = f"compute{number}"
        return Machine(
            name, number, self.state / "hosts" / name, f"nbm-{self.id}-{name}", f"{self.management_prefix}.{number}", None
        )

    @property
    def machines(self) -> tuple[Machine, ...]:
        return (self.controller, *self.hosts)

    def machine(self, name: str) -> Machine:
        for machine in self.machines:
            if machine.name == name:
                return machine
        raise LabError(f"no machine {name!r}; there are {', '.join(m.name for m in self.machines)}")

    @property
    def record(self) -> Path:
        """What `up` was asked for; its presence marks the folder as ours."""
        return self.state / "lab.json"

    @property
    def logs(self) -> Path:
        return self.state / "logs"

    @property
    def run(self) -> Path:
        return self.state / "run"

    @property
    def images(self) -> Path:
        return self.state / "images"

    @property
    def credentials(self) -> Path:
        return self.controller.folder / "admin-openrc"

    @property
    def admin_token(self) -> Path:
        """The administrator's token by itself, for programs that do not log in."""
        return self.controller.folder / "admin-token"

    @property
    def endpoint(self) -> str:
        return f"http://{CONTROLLER}:{API_PORT}/v2.1"

    def log_of(self, machine: Machine, service: str) -> Path:
        return self.logs / f"{machine.name}-{service}.log"


def state_folder(given: str | None, environment: Mapping[str, str] = os.environ) -> Path:
    """The folder that was asked for: the argument, else NBM_LAB, else `.lab` in the repository."""
    folder = Path(given or environment.get("NBM_LAB") or REPOSITORY / ".lab").expanduser().resolve()
    for hidden in _HIDDEN:
        if folder.is_relative_to(hidden):
            raise LabError(f"the state folder cannot be below {hidden}: the machines have a {hidden} of their own")
    return folder


def guest_address(mac: str) -> str:
    """The IPv4 address that the guest image gives itself for a MAC: the last three bytes behind `10.`."""
    return ".".join(["10", *(str(int(part, 16)) for part in mac.split(":")[3:])])


def guest_mac(address: str) -> str:
    """The MAC that makes the guest image answer on `address` (10.x.y.z)."""
    first, *rest = (int(part) for part in address.split("."))
    if first != 10:
        raise ValueError(f"{address} is not in 10.0.0.0/8")
    return "fa:16:3e:" + ":".join(f"{part:02x}" for part in rest)
