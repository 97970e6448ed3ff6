"""os-brick, as the compute service has it: what it says of this host, and volumes as devices or files of this host.

It runs in a process of its own (`brick_helper.py`), asked over pipes, and started when it is first needed: a host whose volumes are
all opened by QEMU itself never does.
"""

from __future__ import annotations

import os
import pathlib
import shutil
from collections.abc import Callable
from typing import Any

from oslo_config import cfg

from nova_blockmigrate import processes
from nova_blockmigrate.attendant import Attendant
from nova_blockmigrate.exceptions import StorageError
from nova_blockmigrate.objects import VolumeConnection

HELPER = "nova_blockmigrate.volume.brick_helper"
ANSWER_TIME_S = 300.0
"""iSCSI tries for two minutes to log in."""
NEEDED: dict[str, tuple[str, str, str, str]] = {
    "iscsi": ("iscsiadm", "open-iscsi", "iscsi_tcp", "/sys/class/iscsi_transport"),
    "iser": ("iscsiadm", "open-iscsi", "ib_iser", "/sys/class/iscsi_transport"),
    "fibre_channel": ("", "", "a host adapter's", "/sys/class/fc_host"),
    "nvmeof": ("nvme", "nvme-cli", "nvme_fabrics", "/sys/class/nvme-fabrics"),
    "rbd": ("rbd", "ceph-common", "rbd", "/sys/bus/rbd"),
    "nfs": ("mount.nfs", "nfs-common", "nfs", "/sys/module/nfs"),
    "glusterfs": ("mount.glusterfs", "glusterfs-client", "fuse", "/sys/module/fuse"),
}
"""What os-brick's connectors run and drive: program, its Debian package, kernel module, where it is seen when it is loaded."""


class Brick:
    """os-brick on one host."""

    def __init__(self, conf: cfg.ConfigOpts, host: str) -> None:
        self._conf, self._host = conf, host
        state = conf.state_path
        self._attendant = Attendant(
            HELPER, os.path.join(state, "brick-locks"), os.path.join(state, "mounts"), answer_time_s=ANSWER_TIME_S
        )

    def close(self) -> None:
        self._attendant.close()

    def properties(self) -> dict[str, Any]:
        """What a storage service may want to know of this host.

        :raises StorageError: os-brick could not find out.
        """
        found: dict[str, Any] = self._ask("describe this host", do="properties", host=self._host, ip=self._conf.my_ip)["properties"]
        return found

    def connect(self, connection: VolumeConnection) -> str:
        """Path of the device or file that the volume is on this host; one that is connected already is found again.

        :raises StorageError: it cannot be had here; the reason names what is missing.
        """
        action = f"connect volume {connection.volume_id} by {connection.protocol}"
        if missing := why_not(connection.protocol):
            raise StorageError(host=self._host, action=action, reason=missing)
        answer = self._ask(action, do="connect", protocol=connection.protocol, data=connection.data)
        return str(answer["path"])

    def disconnect(self, protocol: str, data: dict[str, Any]) -> None:
        """The device goes; one that is gone is fine.

        :raises StorageError:
        """
        self._ask(f"disconnect a volume of {protocol}", do="disconnect", protocol=protocol, data=data)

    def unmount(self, protocol: str, export: str) -> None:
        """No volume of that file system is used here any more.

        :raises StorageError: somebody uses it.
        """
        self._ask(f"unmount {export}", do="unmount", protocol=protocol, export=export)

    def _ask(self, action: str, **request: Any) -> dict[str, Any]:
        try:
            answer = self._attendant.ask({"multipath": bool(self._conf.volume.multipath), **request})
        except OSError as error:
            answer = {"error": str(error)}
        if answer["error"]:
            raise StorageError(host=self._host, action=action, reason=f"os-brick: {answer['error']}")
        return answer


def why_not(protocol: str, has_module: Callable[[str, str], bool] | None = None) -> str:
    """What this host lacks for a protocol, with the remedy; empty when nothing is known to be missing."""
    if protocol not in NEEDED:
        return ""
    program, package, module, seen_at = NEEDED[protocol]
    if program and shutil.which(program) is None:
        return f"{protocol} needs {program} on this host: apt-get install {package}, or use another protocol"
    if not (has_module or _has_module)(module, seen_at):
        return f"{protocol} needs the kernel's module {module}, which this host's kernel does not have: use another protocol"
    return ""


def _has_module(name: str, seen_at: str) -> bool:
    """Whether a kernel module is there, loaded or not."""
    if pathlib.Path(seen_at).exists():
        return True
    try:
        return processes.run(["modprobe", "--dry-run", "--quiet", name]).returncode == 0
    except FileNotFoundError:
        return False
