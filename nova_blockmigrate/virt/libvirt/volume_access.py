"""What must be on a host before QEMU can reach a volume: the password, as a secret of libvirt. In the ledger before it is made.

The secret stays over a restart of libvirt or of the host (in libvirt's own directory, readable by root only), as the guest needs
it whenever it starts. Its name follows from the attachment: made twice, it is one.
"""

from __future__ import annotations

import uuid as uuids

import libvirt
from lxml import etree
from lxml.builder import E

from nova_blockmigrate.objects import Artefact, VolumeConnection
from nova_blockmigrate.virt.driver import Ledger
from nova_blockmigrate.virt.libvirt.host import Host

SECRET = "secret"  # noqa: S105 - a kind of artefact


def secret_of(connection: VolumeConnection) -> str:
    """UUID of the secret with a volume's password on a host; empty when none is asked for."""
    if not connection.data.get("auth_username"):
        return ""
    return str(uuids.uuid5(uuids.NAMESPACE_OID, f"{connection.attachment_id} {connection.host}"))


def grant(host: Host, connection: VolumeConnection, ledger: Ledger) -> None:
    """Have on this host what QEMU needs for the volume."""
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


def revoke(host: Host, connection: VolumeConnection, ledger: Ledger) -> None:
    """Take it away again; what the ledger does not list is not ours."""
    for artefact in ledger.artefacts():
        if artefact == Artefact(SECRET, secret_of(connection)):
            remove_secret(host, artefact.name)
            ledger.forget(artefact)


def remove_secret(host: Host, uuid: str) -> None:
    """Have libvirt forget a secret; one that is gone is fine."""
    with host.errors(f"forget the secret {uuid}"):
        try:
            host.connection().secretLookupByUUIDString(uuid).undefine()
        except libvirt.libvirtError as error:
            if error.get_error_code() != libvirt.VIR_ERR_NO_SECRET:
                raise
