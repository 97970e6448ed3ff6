"""A real Cinder on the laboratory's controller: API, scheduler and volume service from PyPI, on SQLite, behind Keystone.

Its volumes are files (tools/openstack/labstack/cinder_files.py), served by the laboratory's tgtd through Cinder's own target code.
"""

import configparser
import contextlib
import json
import sqlite3
from pathlib import Path
from typing import Any

from labkit import gluster, keystone, machine, openstack_venv, rabbitmq, rest, seed
from labkit.commands import wait_until
from labkit.errors import LabError
from labkit.ini import to_ini
from labkit.lab import Lab

SERVICES = ("cinder-api", "cinder-scheduler", "cinder-volume")
PORT = keystone.VOLUME_PORT
KINDS = ("files", "shared")
"""Of volumes: served over iSCSI; files on a GlusterFS that hosts mount."""


def start(lab: Lab) -> None:
    """Start it and wait until it would make volumes."""
    openstack_venv.ensure_venv()
    venv = openstack_venv.VENV
    folder = lab.layout.controller.folder / "cinder"
    for name in ("state", "files", "targets", "locks", "tgt"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "tgt/targets.conf").write_text(f"include {folder}/targets/*\n")
    lab.run("controller", ["mount", "--bind", str(folder / "tgt"), "/etc/tgt"])
    keystone.register(lab.layout, seed.token_of(lab.layout), keystone.CINDER)
    path = folder / "cinder.conf"
    path.touch(mode=0o600)
    path.write_text(_configuration(lab, venv, folder, gluster.start(lab)))
    lab.run("controller", [str(venv / "bin/cinder-manage"), "--config-file", str(path), "db", "sync"])
    for name in SERVICES:
        environment = {"PATH": f"{venv}/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
        argv = [str(venv / "bin" / name), "--config-file", str(path)]
        machine.start_daemon(lab.layout, lab.layout.controller, name, argv, environment)
    wait_until(lambda: _services_up(lab), 90, "cinder-scheduler and cinder-volume are up", interval_s=0.5)
    for kind in KINDS:
        ask(lab, "POST", "/types", {"volume_type": {"name": kind, "extra_specs": {"volume_backend_name": kind}}})


def _configuration(lab: Lab, venv: Path, folder: Path, shared: Path) -> str:
    address = lab.layout.controller.management_ip
    if lab.record is None:
        raise LabError("the laboratory is not up")
    own = keystone.service_options(keystone.CINDER_USER, lab.record.password)
    return to_ini(
        {
            "DEFAULT": {
                "transport_url": rabbitmq.transport_url(lab.record.password),
                "auth_strategy": "keystone",
                "api_paste_config": venv / "etc/cinder/api-paste.ini",
                "resource_query_filters_file": venv / "etc/cinder/resource_filters.json",
                "state_path": folder / "state",
                "osapi_volume_listen": "0.0.0.0",
                "osapi_volume_listen_port": PORT,
                "osapi_volume_workers": 1,
                "my_ip": address,
                "host": "controller",
                "enabled_backends": "files,shared",
                "default_volume_type": "files",
            },
            "files": {
                "volume_driver": "labstack.cinder_files.FileDriver",
                "volume_backend_name": "files",
                "files_directory": folder / "files",
                "volumes_dir": folder / "targets",
                "target_helper": "tgtadm",
                "target_protocol": "iscsi",
                "target_ip_address": address,
            },
            # who has the role "service" may end what a server uses: Cinder asks for a second token (CVE-2023-2088)
            "keystone_authtoken": {
                **own,
                "www_authenticate_uri": own["auth_url"],
                "service_token_roles_required": "true",
                "service_token_roles": "service",
            },
            "shared": {
                "volume_driver": "labstack.cinder_files.FileDriver",
                "volume_backend_name": "shared",
                "target_helper": "tgtadm",
                "files_directory": shared,
                "files_export": gluster.EXPORT,
            },
            "database": {"connection": f"sqlite:///{folder}/cinder.sqlite"},
            "oslo_concurrency": {"lock_path": folder / "locks"},
            # root need not ask sudo
            "cinder_sys_admin": {"helper_command": f"{venv}/bin/privsep-helper --config-file {folder}/cinder.conf"},
            "coordination": {"backend_url": f"file://{folder}/locks"},
        }
    )


def configure_conductor(lab: Lab) -> None:
    """Have our conductor use it: its configuration file gets what an administrator would write."""
    path = lab.layout.controller.folder / "etc/nova-blockmigrate.conf"
    parser = configparser.RawConfigParser(default_section="")
    parser.read(path)
    parser["volume"] = {"backend": "cinder"}
    if lab.record is None:
        raise LabError("the laboratory is not up")
    own = keystone.service_options(keystone.SERVICE_USER, lab.record.password)
    parser["cinder"] = {name: str(value) for name, value in own.items()}
    with path.open("w") as file:
        parser.write(file)
    lab.restart("controller", "conductor")


def ask(lab: Lab, method: str, path: str, body: Any = None, token: str = "") -> Any:
    """The JSON that Cinder's API answers with, or None; the administrator asks unless it is somebody else's token."""
    token = token or seed.token_of(lab.layout)
    return rest.ask(lab.layout, PORT, method, f"/v3{path}", body, token, version="volume 3.44")[0]


def create_volume(lab: Lab, name: str, token: str = "", **values: Any) -> str:
    """An empty volume of 1 GiB, of the project that the token is for; its id."""
    made: str = ask(lab, "POST", "/volumes", {"volume": {"size": 1, "name": name, **values}}, token)["volume"]["id"]
    wait_until(lambda: volume(lab, made)["status"] == "available", 60, f"volume {name} is available")
    return made


def volume(lab: Lab, volume_id: str) -> dict[str, Any]:
    found: dict[str, Any] = ask(lab, "GET", f"/volumes/{volume_id}")["volume"]
    return found


def attachments(lab: Lab, volume_id: str) -> list[dict[str, Any]]:
    """Cinder's attachments of a volume."""
    found: list[dict[str, Any]] = ask(lab, "GET", f"/attachments/detail?volume_id={volume_id}")["attachments"]
    return found


def connectors(lab: Lab, volume_id: str) -> list[dict[str, Any]]:
    """What Cinder was told of the hosts that may use a volume (its API does not show it)."""
    with contextlib.closing(sqlite3.connect(lab.layout.controller.folder / "cinder/cinder.sqlite")) as database:
        rows = database.execute(
            "SELECT connector FROM volume_attachment WHERE volume_id = ? AND deleted = 0 AND connector IS NOT NULL", (volume_id,)
        )
        return [json.loads(row[0]) for row in rows]


def _services_up(lab: Lab) -> bool:
    try:
        services = ask(lab, "GET", "/os-services")["services"]
    except (OSError, LabError):  # it does not listen yet
        return False
    up = {(one["binary"], one["host"]) for one in services if one["state"] == "up"}
    return {("cinder-scheduler", "controller"), *(("cinder-volume", f"controller@{kind}") for kind in KINDS)} <= up
