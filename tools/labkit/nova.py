"""An unmodified Nova in the laboratory: placement, API, scheduler and conductor on the controller, nova-compute on each host.

Databases are PostgreSQL's; images come from the laboratory's Glance, networks from its Neutron.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from labkit import keystone, machine, nova_venv, postgres, rest
from labkit.commands import run
from labkit.ini import to_ini
from labkit.layout import API_PORT, INSTANCES, Layout, Machine
from labkit.rabbitmq import transport_url

DRIVERS = {"ours": "blockmigrate.LibvirtDriver", "nova": "libvirt.LibvirtDriver"}
"""`compute_driver` by what `up` calls it."""
PACKAGES = ("genisoimage",)
PLACEMENT, API, SCHEDULER, CONDUCTOR, COMPUTE = "placement", "nova-api", "nova-scheduler", "nova-conductor", "nova-compute"
CELL, CELL0, API_DATABASE, PLACEMENT_DATABASE = "nova_cell1", "nova_cell0", "nova_api", "placement"
_CHOSEN = "driver"
"""File in a host's folder with the driver that it alone uses."""
FLAVORS = ({"name": "m1.tiny", "ram": 256, "vcpus": 1, "disk": 1}, {"name": "m1.small", "ram": 512, "vcpus": 1, "disk": 2})
_WSGI = {
    PLACEMENT: ("placement.wsgi.api:application", keystone.PLACEMENT_PORT),
    API: ("nova.wsgi.osapi_compute:application", API_PORT),
}


def daemons_of(each: Machine) -> tuple[str, ...]:
    return (PLACEMENT, CONDUCTOR, SCHEDULER, API) if each.is_controller else (COMPUTE,)


def start(layout: Layout, each: Machine, name: str, password: str, driver: str, concurrency: str) -> None:
    """Write its files and start it; `make_tables` comes before."""
    folder = _configure(layout, each, password, driver, concurrency)
    environment = {
        "PATH": f"{nova_venv.VENV}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "OS_NOVA_CONFIG_DIR": str(folder),
        "OS_PLACEMENT_CONFIG_DIR": str(folder),
        "PYTHONUNBUFFERED": "1",
    }
    if name == COMPUTE:
        environment["NOVA_BLOCKMIGRATE_BREAKPOINTS"] = str(breakpoints_of(each))
    if name in _WSGI:
        # these applications read the command line: theirs must be empty
        environment |= {"GUNICORN_CMD_ARGS": f"--config {folder}/{name}.gunicorn.py", "OS_NOVA_DISABLE_EVENTLET_PATCHING": "true"}
        machine.start_daemon(layout, each, name, [nova_venv.program("gunicorn")], environment)
    else:
        machine.start_daemon(layout, each, name, [nova_venv.program(name), "--config-file", str(folder / "nova.conf")], environment)


def make_tables(layout: Layout, password: str, driver: str, concurrency: str) -> None:
    """Databases with their tables, and the cells; once."""
    folder = _configure(layout, layout.controller, password, driver, concurrency)
    done = folder / "tables-made"
    if done.exists():
        return
    for name in (CELL, CELL0, API_DATABASE, PLACEMENT_DATABASE):
        postgres.create_database(layout, name)
    _manage(layout, "placement-manage", folder / "placement.conf", "db", "sync")
    for command in (
        ["api_db", "sync"],
        ["cell_v2", "map_cell0", "--database_connection", postgres.url_of(CELL0)],
        ["cell_v2", "create_cell", "--name", "cell1"],
        ["db", "sync"],
    ):
        _manage(layout, "nova-manage", folder / "nova.conf", *command)
    done.touch()


def discover_hosts(layout: Layout) -> None:
    """Map new hosts to the cell; nova-scheduler would do so by itself only every few minutes."""
    _manage(layout, "nova-manage", folder_of(layout.controller) / "nova.conf", "cell_v2", "discover_hosts")


def _manage(layout: Layout, program: str, configuration: Path, *arguments: str) -> None:
    argv = [nova_venv.program(program), "--config-file", str(configuration), *arguments]
    run(machine.entering(layout, layout.controller, argv, "/"), env={**machine.environment(), "PYTHONWARNINGS": "ignore"})


def ensure_flavors(layout: Layout, token: str) -> None:
    there = {one["name"] for one in ask(layout, token, "GET", "/flavors")["flavors"]}
    for flavor in FLAVORS:
        if flavor["name"] not in there:
            ask(layout, token, "POST", "/flavors", {"flavor": flavor})


def ask(layout: Layout, token: str, method: str, path: str, body: Any = None) -> Any:
    return rest.ask(layout, API_PORT, method, f"/v2.1{path}", body, token, version="compute 2.96")[0]


def ask_placement(layout: Layout, token: str, path: str) -> Any:
    return rest.ask(layout, keystone.PLACEMENT_PORT, "GET", path, token=token, version="placement 1.39")[0]


def forget_allocations(layout: Layout, token: str, consumer: str) -> None:
    if ask_placement(layout, token, f"/allocations/{consumer}")["allocations"]:
        path = f"/allocations/{consumer}"
        rest.ask(layout, keystone.PLACEMENT_PORT, "DELETE", path, token=token, version="placement 1.39")


def choose_driver(each: Machine, driver: str) -> None:
    """The driver of this host alone, from the next start of its nova-compute on, whatever the laboratory was made with."""
    (folder_of(each) / _CHOSEN).write_text(driver)


def placement_answers(layout: Layout) -> bool:
    return rest.answers(layout, keystone.PLACEMENT_PORT, "/")


def api_answers(layout: Layout) -> bool:
    return rest.answers(layout, API_PORT, "/")


def services_up(layout: Layout, token: str) -> set[tuple[str, str]]:
    """(host, binary) of the services that have reported lately."""
    listed = ask(layout, token, "GET", "/os-services")["services"]
    return {(one["host"], one["binary"]) for one in listed if one["state"] == "up"}


def breakpoints_of(each: Machine) -> Path:
    """The folder of its nova-compute's points (`nova_blockmigrate.breakpoints`)."""
    folder = folder_of(each) / "breakpoints"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


# --- configuration files, as Nova's installation guide has them -----------------------------------------------------------


def folder_of(each: Machine) -> Path:
    return each.folder / "nova"


def _configure(layout: Layout, each: Machine, password: str, driver: str, concurrency: str) -> Path:
    folder = folder_of(each)
    for name in ("state", "locks"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    _write(folder / "nova.conf", to_ini(_nova(each, folder, password, driver, concurrency)))
    if each.is_controller:
        paste = (nova_venv.VENV / "etc/nova/api-paste.ini").read_text()
        _write(folder / "api-paste.ini", paste)
        _write(folder / "placement.conf", to_ini(_placement(password)))
        for name, (application, port) in _WSGI.items():
            text = f'wsgi_app = "{application}"\nbind = "0.0.0.0:{port}"\nworkers = 1\nthreads = 8\ntimeout = 300\n'
            _write(folder / f"{name}.gunicorn.py", text)
    return folder


def _write(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.write_text(text)


def _placement(password: str) -> dict[str, Mapping[str, object]]:
    own = keystone.service_options(keystone.PLACEMENT_USER, password)
    return {
        "placement_database": {"connection": postgres.url_of(PLACEMENT_DATABASE)},
        "api": {"auth_strategy": "keystone"},
        "keystone_authtoken": {**own, "www_authenticate_uri": own["auth_url"], "service_token_roles_required": "true"},
    }


def _nova(each: Machine, folder: Path, password: str, driver: str, concurrency: str) -> dict[str, Mapping[str, object]]:
    own = keystone.service_options(keystone.NOVA_USER, password)
    region = {**own, "region_name": keystone.REGION}
    sections: dict[str, Mapping[str, object]] = {
        "DEFAULT": {
            "transport_url": transport_url(password),
            "host": each.name,
            "my_ip": each.management_ip,
            "state_path": folder / "state",
            "instances_path": INSTANCES,
            "use_stderr": "true",
            "debug": "true",
            "concurrency_backend": concurrency,
            "vif_plugging_timeout": 0,
            "vif_plugging_is_fatal": "false",
        },
        "keystone_authtoken": {**own, "www_authenticate_uri": own["auth_url"], "service_token_roles_required": "true"},
        "service_user": {**own, "send_service_user_token": "true"},
        "placement": region,
        "neutron": region,
        "glance": region,
        "oslo_concurrency": {"lock_path": folder / "locks"},
        "vnc": {"enabled": "false"},
        "scheduler": {"workers": 1, "discover_hosts_in_cells_interval": 30},
        "conductor": {"workers": 1},
        "wsgi": {"api_paste_config": folder / "api-paste.ini"},
    }
    if each.is_controller:
        sections["api_database"] = {"connection": postgres.url_of(API_DATABASE)}
        sections["database"] = {"connection": postgres.url_of(CELL)}
        return sections
    chosen = folder / _CHOSEN
    driver = chosen.read_text() if chosen.exists() else driver
    sections["DEFAULT"] = {**sections["DEFAULT"], "compute_driver": DRIVERS[driver]}
    # root need not ask sudo
    sections["nova_sys_admin"] = {"helper_command": f"{nova_venv.program('privsep-helper')} --config-file {folder}/nova.conf"}
    # Emulation: the machine below need not have KVM.
    sections["libvirt"] = {
        "virt_type": "qemu",
        "cpu_mode": "none",
        "images_type": "qcow2",
        "live_migration_uri": "qemu+tcp://%s/system",
        "live_migration_inbound_addr": each.management_ip,
    }
    return sections
