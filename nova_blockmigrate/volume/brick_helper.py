"""The process in which os-brick runs, below the compute service: `python -m nova_blockmigrate.volume.brick_helper LOCKS MOUNTS`.

os-brick wants a process that eventlet has not patched and in which its privileged functions may run (oslo.privsep would start
one by sudo). Its connectors run the host's own tools (iscsiadm, nvme, multipath, rbd, mount), so it keeps the service's rights.
It takes one request a line from its standard input, answers each with a line, and ends when its input does.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import os_brick
from os_brick import privileged
from os_brick.initiator import connector
from os_brick.privileged import rootwrap
from os_brick.remotefs import remotefs
from oslo_concurrency import lockutils
from oslo_config import cfg

REMOTE_FILE_SYSTEMS = ("nfs", "glusterfs", "scality", "quobyte", "vzstorage")
BOOTED_BY_SYSTEMD = "/run/systemd/system"
_SCANS = 5


def main() -> None:
    locks, mounts = sys.argv[1:]
    answers, sys.stdout = sys.stdout, sys.stderr  # what libraries print must not be taken for an answer
    set_up(locks)
    for line in sys.stdin:
        answers.write(json.dumps(answer(json.loads(line), mounts)) + "\n")
        answers.flush()


def set_up(locks: str) -> None:
    """Locks where other users of os-brick on this host may be told to have theirs; privileged functions in this process."""
    os.makedirs(locks, exist_ok=True)
    cfg.CONF([], default_config_files=[])
    lockutils.set_defaults(locks)
    os_brick.setup(cfg.CONF)
    for context in (privileged.default, privileged.brick_privsep_hide_output):
        context.set_client_mode(False)


def answer(request: dict[str, Any], mounts: str) -> dict[str, Any]:
    """What was asked for, and {"error": why it failed, or nothing}"""
    try:
        done = {"properties": properties, "connect": connect, "disconnect": disconnect, "unmount": unmount}
        return {"error": "", **done[request["do"]](request, mounts)}
    except Exception as error:  # noqa: BLE001 - the border to the service: it gets the reason, this process lives on
        return {"error": f"{type(error).__name__}: {error}"}


def properties(request: dict[str, Any], mounts: str) -> dict[str, Any]:
    multipath = request["multipath"]
    found = connector.get_connector_properties(None, request["ip"], multipath, enforce_multipath=multipath, host=request["host"])
    return {"properties": found}


def connect(request: dict[str, Any], mounts: str) -> dict[str, Any]:
    """{"path": of the device or file that the volume is here}; one that is connected already is found again."""
    device = _connector(request, mounts).connect_volume(request["data"])
    return {"path": os.fsdecode(device["path"])}


def disconnect(request: dict[str, Any], mounts: str) -> dict[str, Any]:
    """What is not connected is fine."""
    _connector(request, mounts).disconnect_volume(request["data"], None, force=True, ignore_errors=False)
    return {}


def unmount(request: dict[str, Any], mounts: str) -> dict[str, Any]:
    """A file system that volumes lay on, as os-brick leaves it mounted. One that is not mounted is fine."""
    client = remotefs.RemoteFsClient(request["protocol"], None, **_mount_options(request["protocol"], mounts))
    point = client.get_mount_point(request["export"])
    if os.path.ismount(point):
        subprocess.run(["umount", point], check=True, capture_output=True)
    if os.path.isdir(point):
        os.rmdir(point)
    return {}


def _connector(request: dict[str, Any], mounts: str) -> Any:
    protocol = request["protocol"]
    made = connector.InitiatorConnector.factory(
        protocol,
        None,
        use_multipath=request["multipath"],
        device_scan_attempts=_SCANS,
        conn=request["data"],
        do_local_attach=True,  # (rbd: by the kernel, as QEMU is told of a device)
        **_mount_options(protocol, mounts),
    )
    if protocol in REMOTE_FILE_SYSTEMS:
        made.set_execute(run_apart)
    return made


def run_apart(*command: str, **options: Any) -> Any:
    """os-brick's way to run a program, but for mounts: many file systems are a process, which would end with the service, and take
    guests' volumes away, if systemd counted it as one of the service's."""
    if command[0] == "mount" and os.path.isdir(BOOTED_BY_SYSTEMD):
        command = ("systemd-run", "--scope", "--quiet", *command)
    return rootwrap.execute(*command, **options)


def _mount_options(protocol: str, mounts: str) -> dict[str, str]:
    return {f"{protocol}_mount_point_base": mounts} if protocol in REMOTE_FILE_SYSTEMS else {}


if __name__ == "__main__":
    main()
