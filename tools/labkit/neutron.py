"""A real Neutron on the controller (API and RPC server, ML2, SQLite) and an agent for bridges on each host."""

from pathlib import Path
from typing import Any

from labkit import keystone, machine, openstack_venv, rest
from labkit.commands import run
from labkit.fabric import GUEST_BRIDGE
from labkit.ini import to_ini
from labkit.layout import Layout, Machine, guest_mac
from labkit.rabbitmq import transport_url

API, RPC, AGENT = "neutron-api", "neutron-rpc", "neutron-agent"
PORT = keystone.NETWORK_PORT
PHYSICAL_NETWORK = "tenant"
NETWORK = "neutron-net"
_DATABASE = "neutron.sqlite"
_PASTE = openstack_venv.VENV / "etc/neutron/api-paste.ini"


def daemons_of(each: Machine) -> tuple[str, ...]:
    return (API, RPC) if each.is_controller else (AGENT,)


def start(layout: Layout, each: Machine, name: str, password: str, vif_type: str) -> None:
    """Start one of the daemons; on the controller, with its database made before. `vif_type`: one of labstack.bridge_driver's."""
    configuration = _configure(layout, each, password, vif_type)
    if name == API:
        arguments = openstack_venv.serving("neutron.wsgi.api:application", PORT)
    elif name == RPC:
        arguments = [openstack_venv.program("python"), "-m", "labstack.neutron_rpc", "--config-file", str(configuration)]
    else:
        arguments = [openstack_venv.program("python"), "-m", "labstack.bridge_agent", "--config-file", str(configuration)]
    environment = {"OS_NEUTRON_CONFIG_FILES": str(configuration), "PYTHONUNBUFFERED": "1"}
    machine.start_daemon(layout, each, name, arguments, environment)


def make_tables(layout: Layout) -> None:
    folder = _folder(layout.controller)
    folder.mkdir(exist_ok=True)
    done = folder / "tables-made"
    if not done.exists():
        (folder / _DATABASE).unlink(missing_ok=True)  # half made
        run([openstack_venv.program("python"), "-m", "labstack.neutron_tables", _database(layout.controller)])
        done.touch()


def _configure(layout: Layout, each: Machine, password: str, vif_type: str) -> Path:
    folder = _folder(each)
    folder.mkdir(exist_ok=True)
    path = folder / "neutron.conf"
    path.touch(mode=0o600)
    own = keystone.service_options(keystone.NEUTRON_USER, password)
    path.write_text(
        to_ini(
            {
                "DEFAULT": {
                    "host": each.name,
                    "state_path": folder,
                    "transport_url": transport_url(password),
                    "core_plugin": "ml2",
                    "service_plugins": "",
                    "auth_strategy": "keystone",
                    "api_paste_config": _PASTE,
                    "rpc_workers": 1,
                    "rpc_state_report_workers": 0,
                    "notify_nova_on_port_status_changes": "true",
                    "notify_nova_on_port_data_changes": "true",
                    "send_events_interval": 1,
                    "use_stderr": "true",
                },
                "database": {"connection": _database(each)},
                "keystone_authtoken": {**own, "service_token_roles_required": "true"},
                "nova": own,
                "oslo_concurrency": {"lock_path": folder / "locks"},
                "ml2": {
                    "mechanism_drivers": "labbridge",
                    "type_drivers": "flat",
                    "tenant_network_types": "",
                    "extension_drivers": "port_security",
                },
                "ml2_type_flat": {"flat_networks": PHYSICAL_NETWORK},
                "labstack": {"bridge_mappings": f"{PHYSICAL_NETWORK}:{GUEST_BRIDGE}", "vif_type": vif_type},
            }
        )
    )
    return path


def _database(each: Machine) -> str:
    return f"sqlite:///{_folder(each)}/{_DATABASE}"


def answers(layout: Layout) -> bool:
    return rest.answers(layout, PORT)


def ask(layout: Layout, token: str, method: str, path: str, body: Any = None) -> Any:
    """A request to Neutron as whoever's token it is; the answer's JSON."""
    return rest.ask(layout, PORT, method, f"/v2.0{path}", body, token)[0]


def live_agents(layout: Layout, token: str) -> set[str]:
    """Hosts whose agent Neutron holds for alive."""
    listed = ask(layout, token, "GET", "/agents")["agents"]
    return {agent["host"] for agent in listed if agent["alive"]}


def ensure_network(layout: Layout, token: str) -> str:
    """The network that everybody may use, on the tenant bridges; its id."""
    there = ask(layout, token, "GET", f"/networks?name={NETWORK}")["networks"]
    if there:
        return str(there[0]["id"])
    wanted = {
        "name": NETWORK,
        "shared": True,
        "provider:network_type": "flat",
        "provider:physical_network": PHYSICAL_NETWORK,
    }
    made = ask(layout, token, "POST", "/networks", {"network": wanted})["network"]
    subnet = {"network_id": made["id"], "ip_version": 4, "cidr": layout.tenant_cidr, "enable_dhcp": False, "gateway_ip": None}
    ask(layout, token, "POST", "/subnets", {"subnet": subnet})
    return str(made["id"])


def make_port(layout: Layout, token: str, number: int, **values: Any) -> dict[str, Any]:
    """A port with the address that the guest image derives from its MAC; `number` is its last part."""
    address = f"{layout.tenant_prefix}.{number}"
    wanted = {
        "network_id": ensure_network(layout, token),
        "mac_address": guest_mac(address),
        "fixed_ips": [{"ip_address": address}],
        **values,
    }
    port: dict[str, Any] = ask(layout, token, "POST", "/ports", {"port": wanted})["port"]
    return port


def bindings(layout: Layout, token: str, port_id: str) -> dict[str, str]:
    """Status by host."""
    return {one["host"]: one["status"] for one in ask(layout, token, "GET", f"/ports/{port_id}/bindings")["bindings"]}


def _folder(each: Machine) -> Path:
    return each.folder / "neutron"
