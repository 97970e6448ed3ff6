"""A host's side of volumes: under which name it comes, and where a volume is to be reached."""

from __future__ import annotations

import pathlib
import re
from collections.abc import Mapping
from typing import Any

from oslo_config import cfg

from nova_blockmigrate.objects import VolumeConnection
from nova_blockmigrate.volume.api import Connector

QEMU = "qemu"
"""Who logs in to iSCSI targets, unless the kernel does, by os-brick."""
INITIATOR_FILE = pathlib.Path("/etc/iscsi/initiatorname.iscsi")
QEMU_PREFIX = "iqn.2008-11.org.linux-kvm:"
"""What QEMU's initiator calls itself, before a name of its own."""


def initiator_name(conf: cfg.ConfigOpts, host: str, file: pathlib.Path = INITIATOR_FILE) -> str:
    """The iSCSI name of this host."""
    if conf.volume.initiator_name:
        return str(conf.volume.initiator_name)
    try:
        found = re.search(r"^\s*InitiatorName=(\S+)", file.read_text(), re.MULTILINE)
    except OSError:
        found = None
    return found[1] if found else QEMU_PREFIX + host


def connector(conf: cfg.ConfigOpts, host: str, properties: Mapping[str, Any]) -> Connector:
    """What a backend must know of this host; `properties` is what os-brick says of it, if it was asked. Under which iSCSI name the
    host comes is for whoever logs in to say: QEMU, or the kernel, whose name os-brick has read."""
    name = initiator_name(conf, host)
    if conf.volume.iscsi_connector != QEMU:
        name = properties.get("initiator") or name
    return Connector(host, conf.my_ip, name, dict(properties))


def is_opened_by_qemu(conf: cfg.ConfigOpts, protocol: str) -> bool:
    """Whether QEMU reaches such volumes by itself; all others os-brick connects to this host."""
    return protocol == "iscsi" and bool(conf.volume.iscsi_connector == QEMU)


def portal(connection: VolumeConnection) -> tuple[str, int] | None:
    """Address and port at which the volume is served; None when it is not iSCSI."""
    text = str(connection.data.get("target_portal") or "")
    address, _, port = text.rpartition(":")
    return (address.strip("[]"), int(port)) if address and port.isdigit() else None
