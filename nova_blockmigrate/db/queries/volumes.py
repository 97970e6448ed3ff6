"""Volumes of servers: which server has which (mappings), and which hosts may use them (attachments)."""

from __future__ import annotations

import datetime
import uuid as uuids
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from oslo_db import exception as db_exception
from sqlalchemy import orm

from nova_blockmigrate import exceptions
from nova_blockmigrate.db.models import BlockDeviceMapping, Instance, Migration, VolumeAttachment, utcnow
from nova_blockmigrate.db.queries import rows
from nova_blockmigrate.objects import IN_PROGRESS_STATUSES, MappingState

_UNFINISHED = Migration.status.in_(sorted(status.value for status in IN_PROGRESS_STATUSES))

BUSY = datetime.timedelta(seconds=180)
"""Longer than attaching or detaching takes at the worst; after that whoever did it counts as dead."""


def patience() -> datetime.datetime:
    """For `busy_until`, from now on."""
    return utcnow() + BUSY


# --- mappings ---------------------------------------------------------------------------------------------------------


def map_volume(db: orm.Session, instance: Instance, volume_id: str, device_name: str, **values: Any) -> BlockDeviceMapping:
    """Give a volume to a server; it is attached afterwards.

    :raises exceptions.InvalidVolume: a server has it already.
    """
    mapping = BlockDeviceMapping(
        uuid=str(uuids.uuid4()),
        instance_id=instance.id,
        volume_id=volume_id,
        device_name=device_name,
        state=MappingState.ATTACHING.value,
        **values,
    )
    try:
        return rows.add(db, mapping)
    except db_exception.DBDuplicateEntry as error:
        raise exceptions.InvalidVolume(volume_id=volume_id, reason="it is attached to a server") from error


def get(db: orm.Session, instance: Instance, volume_id: str) -> BlockDeviceMapping:
    """
    :raises exceptions.VolumeAttachmentNotFound: the server does not have that volume.
    """
    mapping = find(db, volume_id)
    if mapping is None or mapping.instance_id != instance.id:
        raise exceptions.VolumeAttachmentNotFound(volume_id=volume_id, server=instance.uuid)
    return mapping


def find(db: orm.Session, volume_id: str) -> BlockDeviceMapping | None:
    """The mapping of a volume, whosever it is."""
    return db.scalar(sa.select(BlockDeviceMapping).where(BlockDeviceMapping.volume_id == volume_id))


def of_instance(db: orm.Session, instance_id: int) -> list[BlockDeviceMapping]:
    """A server's volumes, in the order in which it got them."""
    statement = sa.select(BlockDeviceMapping).where(BlockDeviceMapping.instance_id == instance_id)
    return list(db.scalars(statement.order_by(BlockDeviceMapping.id)))


def of_server(db: orm.Session, server_uuid: str) -> list[BlockDeviceMapping]:
    """The same, by the server's uuid; also of a deleted one."""
    its = BlockDeviceMapping.instance_id == Instance.id
    statement = sa.select(BlockDeviceMapping).join(Instance, its).where(Instance.uuid == server_uuid)
    return list(db.scalars(statement.order_by(BlockDeviceMapping.id)))


def update(db: orm.Session, mapping_id: int, **values: Any) -> BlockDeviceMapping | None:
    """Change a mapping; None when it is gone meanwhile."""
    mapping = db.get(BlockDeviceMapping, mapping_id)
    return None if mapping is None else rows.assign(db, mapping, values)


def swap_state(db: orm.Session, mapping_id: int, expected: Sequence[MappingState], new: MappingState) -> bool:
    """Set the state if it is one of `expected`; whether it was."""
    conditions = [BlockDeviceMapping.id == mapping_id, BlockDeviceMapping.state.in_([state.value for state in expected])]
    return rows.change_where(db, BlockDeviceMapping, conditions, {"state": new.value})


def unmap(db: orm.Session, mapping_id: int) -> None:
    """Forget a mapping and its attachments, which the backend has ended; one that is gone is fine."""
    mapping = db.get(BlockDeviceMapping, mapping_id)
    if mapping is not None:
        db.delete(mapping)
        db.flush()


def left_unfinished(db: orm.Session, now: datetime.datetime) -> list[BlockDeviceMapping]:
    """Mappings that were being attached or detached by a conductor that died over it."""
    conditions = [BlockDeviceMapping.state != MappingState.ATTACHED.value, BlockDeviceMapping.busy_until <= now]
    return list(db.scalars(sa.select(BlockDeviceMapping).where(*conditions).order_by(BlockDeviceMapping.id)))


def take_unfinished(db: orm.Session, mapping_id: int, now: datetime.datetime) -> bool:
    """Take over what a dead conductor left; false when another one was faster."""
    conditions = [BlockDeviceMapping.id == mapping_id, BlockDeviceMapping.busy_until <= now]
    return rows.change_where(db, BlockDeviceMapping, conditions, {"busy_until": patience()})


def of_deleted_servers(db: orm.Session) -> list[BlockDeviceMapping]:
    """Mappings that outlived their server, as the backend did not answer when it was deleted."""
    statement = sa.select(BlockDeviceMapping).join(Instance, Instance.id == BlockDeviceMapping.instance_id)
    return list(db.scalars(statement.where(Instance.deleted_at.is_not(None)).order_by(BlockDeviceMapping.id)))


# --- attachments ------------------------------------------------------------------------------------------------------


def add_attachment(db: orm.Session, mapping_id: int, host: str) -> VolumeAttachment:
    """Note that a host is to get the right to a volume; noted already is fine.

    :raises exceptions.VolumeAttachmentNotFound: the volume was taken from its server meanwhile.
    """
    mapping = db.get(BlockDeviceMapping, mapping_id)
    if mapping is None:
        raise exceptions.VolumeAttachmentNotFound(volume_id=f"of mapping {mapping_id}", server="any more")
    found = db.scalar(sa.select(VolumeAttachment).where(VolumeAttachment.mapping_id == mapping_id, VolumeAttachment.host == host))
    return found or rows.add(db, VolumeAttachment(mapping_id=mapping_id, host=host))


def update_attachment(db: orm.Session, id: int, **values: Any) -> VolumeAttachment | None:
    """Change an attachment; None when it is gone meanwhile."""
    attachment = db.get(VolumeAttachment, id)
    return None if attachment is None else rows.assign(db, attachment, values)


def drop_attachment(db: orm.Session, id: int) -> None:
    """Forget an attachment that the backend has ended; one that is gone is fine."""
    attachment = db.get(VolumeAttachment, id)
    if attachment is not None:
        db.delete(attachment)
        db.flush()


def strays(db: orm.Session) -> list[VolumeAttachment]:
    """Rights of hosts on which the server neither is nor is to come: what a roll back or a clean-up could not end."""
    moving = sa.select(Migration.id).where(
        Migration.instance_uuid == Instance.uuid,
        _UNFINISHED,
        sa.or_(Migration.dest_compute == VolumeAttachment.host, Migration.source_compute == VolumeAttachment.host),
    )
    statement = (
        sa.select(VolumeAttachment)
        .join(BlockDeviceMapping, BlockDeviceMapping.id == VolumeAttachment.mapping_id)
        .join(Instance, Instance.id == BlockDeviceMapping.instance_id)
        .where(
            sa.or_(Instance.host.is_(None), Instance.host != VolumeAttachment.host),
            BlockDeviceMapping.state == MappingState.ATTACHED.value,
            ~moving.exists(),
        )
    )
    return list(db.scalars(statement.order_by(VolumeAttachment.id)))
