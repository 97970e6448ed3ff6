"""Our services in the laboratory: their configuration files, as an administrator would write them, and their start."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from labkit import keystone, machine, postgres
from labkit.ini import to_ini
from labkit.layout import API_PORT, CONFIGURATION, IMAGES, INSTANCES, PRODUCT_STATE, VENV, Layout, Machine
from labkit.rabbitmq import transport_url

PHYSICAL_NETWORK = "tenant"
"""Where every host's tenant interface is plugged in."""
CONTROLLER_SERVICES, HOST_SERVICES = ("conductor", "api"), ("compute",)


@dataclass(frozen=True)
class Options:
    """What `up` can be asked for. An empty database means SQLite in the controller's state folder, "postgresql" one of the
    laboratory's own; anything else is the URL of somebody else's. With breakpoints the
    services can be held at named points (`nova_blockmigrate.breakpoints`)."""

    concurrency: str = "eventlet"
    database: str = ""
    breakpoints: bool = False
    keystone: bool = False
    """Keystone says who is who, instead of the file of tokens."""
    neutron: bool = False
    """Neutron has the networks; needs Keystone."""
    glance: bool = False
    """Glance has the images; needs Keystone."""
    horizon: bool = False
    """Horizon shows it all in a browser; needs Keystone."""
    nova: str = ""
    """An unmodified Nova instead of our services, with the driver of this name (see `nova.DRIVERS`); needs all of the above."""

    @property
    def vif_type(self) -> str:
        """Of Neutron's ports: Nova puts nothing into bridges."""
        return "tap" if self.nova else "bridge"

    @property
    def own_postgresql(self) -> bool:
        return self.database == "postgresql"

    @property
    def database_url(self) -> str:
        if self.own_postgresql:
            return postgres.url_of()
        return self.database or f"sqlite:///{PRODUCT_STATE}/nova-blockmigrate.sqlite"


def of(each: Machine) -> tuple[str, ...]:
    """Names of our services on a machine."""
    return CONTROLLER_SERVICES if each.is_controller else HOST_SERVICES


def command(name: str) -> str:
    return str(VENV / "bin" / f"nova-blockmigrate-{name}")


def configure(layout: Layout, each: Machine, password: str, options: Options) -> None:
    """Write the machine's nova-blockmigrate.conf; it holds the broker's password."""
    path = each.folder / "etc/nova-blockmigrate.conf"
    path.touch(mode=0o600)
    remotes = [machine.management_ip for machine in layout.machines]
    path.write_text(configuration(each, password, options, remotes))
    if options.breakpoints:
        breakpoints_folder(each).mkdir(mode=0o700, exist_ok=True)


def breakpoints_folder(each: Machine) -> Path:
    """Where the machine's services look for armed points, as seen from outside."""
    return each.folder / "state/breakpoints"


def configuration(each: Machine, password: str, options: Options, vxlan_remotes: Sequence[str] = ()) -> str:
    sections: dict[str, Mapping[str, object]] = {
        "DEFAULT": {
            "transport_url": transport_url(password),
            "host": each.name,
            "my_ip": each.management_ip,
            "state_path": PRODUCT_STATE,
            "instances_path": INSTANCES,
            "compute_driver": "libvirt",
            "concurrency": options.concurrency,
            "network_backend": "neutron" if options.neutron else "embedded",
        },
        "image": {"backend": "glance" if options.glance else "local", "local_directory": IMAGES},
    }
    if each.is_controller:
        sections["database"] = {"connection": options.database_url}
        sections["api"] = {
            "listen": "0.0.0.0",
            "listen_port": API_PORT,
            "auth_strategy": "keystone" if options.keystone else "token_file",
            "token_file": f"{CONFIGURATION}/tokens.json",
        }
    else:
        # Emulation, and a model that every QEMU offers: the machine below need not have KVM.
        sections["libvirt"] = {
            "virt_type": "qemu",
            "cpu_mode": "custom",
            "cpu_models": "qemu64",
            "live_migration_uri": "qemu+tcp://%s/system",
            "live_migration_inbound_addr": each.management_ip,
        }
        sections["network"] = {
            "physical_interface_mappings": f"{PHYSICAL_NETWORK}:eth1",
            "vxlan_remotes": ",".join(vxlan_remotes),
            "firewall_refresh_interval": 5,
        }
    return to_ini(sections | _openstack_sections(each, password, options))


def _openstack_sections(each: Machine, password: str, options: Options) -> dict[str, Mapping[str, object]]:
    own = keystone.service_options(keystone.SERVICE_USER, password)
    sections: dict[str, Mapping[str, object]] = {}
    if options.keystone and each.is_controller:
        sections["keystone_authtoken"] = {**own, "www_authenticate_uri": own["auth_url"], "service_token_roles_required": "true"}
    if options.glance:
        sections["glance"] = own
    if options.neutron:
        # the laboratory's agents say so
        sections["neutron"] = {**own, "plugged_when_bound": "bridge"}
    return sections


def start(layout: Layout, each: Machine, name: str, options: Options) -> None:
    environment = {"PYTHONUNBUFFERED": "1"}
    if options.breakpoints:
        environment["NOVA_BLOCKMIGRATE_BREAKPOINTS"] = f"{PRODUCT_STATE}/breakpoints"
    machine.start_daemon(layout, each, name, [command(name)], environment)


def credentials(variables: Mapping[str, str]) -> str:
    """What an administrator sources, in a shell inside the controller."""
    exports = "".join(f"export {name}={value}\n" for name, value in variables.items())
    return f"# For `tools/lab run`, or a shell inside the controller.\n{exports}"


def credential_variables(layout: Layout, token: str) -> dict[str, str]:
    return {
        "OS_AUTH_TYPE": "admin_token",
        "OS_TOKEN": token,
        "OS_ENDPOINT": layout.endpoint,
        "OS_AUTH_URL": layout.endpoint,
        "OS_PROJECT_NAME": "admin",
        "OS_IDENTITY_API_VERSION": "2",
    }


def read_credentials(path: Path) -> dict[str, str]:
    lines = (line.removeprefix("export ") for line in path.read_text().splitlines() if line.startswith("export "))
    return dict(line.split("=", 1) for line in lines)
