"""What must be on a host before a guest can have a volume, in the ledger before it is made: for QEMU's own initiator the password,
as a secret of libvirt; for all else a device or file, which os-brick connects.

The secret stays over a restart of libvirt or of the host (in libvirt's own directory, readable by root only), as the guest needs
it whenever it starts. Its name follows from the attachment: made twice, it is one. What is to be undone follows from the ledger
alone, as the options may have changed meanwhile.
"""

from __future__ import annotations

import dataclasses
import json
import os
import stat
import uuid as uuids
from typing import Any

import libvirt
from lxml import etree
from lxml.builder import E
from oslo_config import cfg

from nova_blockmigrate.exceptions import StorageError
from nova_blockmigrate.objects import Artefact, VolumeConnection
from nova_blockmigrate.virt.driver import Ledger
from nova_blockmigrate.virt.libvirt.host import Host
from nova_blockmigrate.volume import connecting
from nova_blockmigrate.volume.brick import Brick

SECRET = "secret"  # noqa: S105 - a kind of artefact
BRICK = "brick"
"""A volume that os-brick has connected. Its name is all that is needed to disconnect it, as JSON."""
MOUNT = "mount"
"""A file system that os-brick has mounted, on which volumes lie; likewise."""
_PASSWORDS = ("password", "secret", "keyring")


@dataclasses.dataclass(frozen=True)
class Way:
    """How a guest of this host reaches a volume: through QEMU's initiator, under a name, or as a path."""

    initiator: str = ""
    path: str = ""
    is_block: bool = False
    format: str = "raw"


class VolumeAccess:
    """Volumes of one host's guests."""

    def __init__(self, conf: cfg.ConfigOpts, host: Host, brick: Brick) -> None:
        self._conf, self._host, self._brick = conf, host, brick

    def grant(self, connection: VolumeConnection, ledger: Ledger) -> Way:
        """Have on this host what a guest needs for the volume.

        :raises StorageError, HypervisorError: it cannot be had.
        """
        if connecting.is_opened_by_qemu(self._conf, connection.protocol):
            make_secret(self._host, connection, ledger)
            return Way(initiator=connecting.initiator_name(self._conf, self._host.name))
        if mount := mount_of(connection):
            with ledger.entry(MOUNT, mount):
                pass  # os-brick makes it, with the volume
        with ledger.entry(BRICK, brick_of(connection)):
            return self.connect(connection)

    def connect(self, connection: VolumeConnection) -> Way:
        """Have os-brick connect a volume that is in the ledger; one that is connected already is found again.

        :raises StorageError:
        """
        path = self._brick.connect(connection)
        try:
            is_block = stat.S_ISBLK(os.stat(path).st_mode)
        except OSError as error:
            action = f"connect volume {connection.volume_id} by {connection.protocol}"
            raise StorageError(host=self._host.name, action=action, reason=str(error)) from error
        return Way(path=path, is_block=is_block, format=str(connection.data.get("format") or "raw"))

    def revoke(self, connection: VolumeConnection, ledger: Ledger) -> None:
        """Take it away again; what the ledger does not list is not ours."""
        wanted = [Artefact(BRICK, brick_of(connection)), Artefact(SECRET, secret_of(connection))]
        mount = Artefact(MOUNT, mount_of(connection))
        if not any(each.kind == BRICK and each not in wanted and json.loads(each.name).get("mount") == mount.name
                   for each in ledger.artefacts()):  # fmt: skip
            wanted.append(mount)
        for artefact in wanted:
            if artefact in ledger.artefacts():
                self.remove(artefact, ledger)
                ledger.forget(artefact)

    def remove(self, artefact: Artefact, ledger: Ledger) -> None:
        """Unmake one of these artefacts; one that is gone is fine.

        :raises BlockMigrateError:
        """
        if artefact.kind == SECRET:
            remove_secret(self._host, artefact.name)
            return
        told: dict[str, Any] = json.loads(artefact.name)
        if artefact.kind == BRICK:
            self._brick.disconnect(told["protocol"], told["data"])
        elif not ledger.is_shared(artefact):  # else it goes with the last of those who use it
            self._brick.unmount(told["protocol"], told["export"])


# --- what is written down ---------------------------------------------------------------------------------------------


def brick_of(connection: VolumeConnection) -> str:
    """Name of the artefact that a volume is which os-brick connects. Without passwords: they are for getting in only."""
    data = {key: value for key, value in connection.data.items() if not any(word in key for word in _PASSWORDS)}
    told = {"volume": connection.volume_id, "protocol": connection.protocol, "data": data, "mount": mount_of(connection)}
    return json.dumps(told, sort_keys=True)


def mount_of(connection: VolumeConnection) -> str:
    """Name of the artefact that its file system is; empty when it lies on none."""
    export = connection.data.get("export")
    return json.dumps({"protocol": connection.protocol, "export": export}, sort_keys=True) if export else ""


def secret_of(connection: VolumeConnection) -> str:
    """UUID of the secret with a volume's password on a host; empty when none is asked for."""
    if not connection.data.get("auth_username"):
        return ""
    return str(uuids.uuid5(uuids.NAMESPACE_OID, f"{connection.attachment_id} {connection.host}"))


# --- secrets ----------------------------------------------------------------------------------------------------------


def make_secret(host: Host, connection: VolumeConnection, ledger: Ledger) -> None:
    uuid = secret_of(connection)
    if not uuid:
        return
    secret = E.secret(
        E.uuid(uuid),
        E.description(f"volume {connection.volume_id}"),
        E.usage(E.target(f"{connection.volume_id} {connection.attachment_id}"), type="iscsi"),
        ephemeral="no",
        private="yes",
    )
    with ledger.entry(SECRET, uuid), host.errors(f"keep the password of volume {connection.volume_id}"):
        kept = host.connection().secretDefineXML(etree.tostring(secret, encoding="unicode"))
        kept.setValue(str(connection.data["auth_password"]).encode())


def remove_secret(host: Host, uuid: str) -> None:
    """Have libvirt forget a secret; one that is gone is fine."""
    with host.errors(f"forget the secret {uuid}"):
        try:
            host.connection().secretLookupByUUIDString(uuid).undefine()
        except libvirt.libvirtError as error:
            if error.get_error_code() != libvirt.VIR_ERR_NO_SECRET:
                raise
