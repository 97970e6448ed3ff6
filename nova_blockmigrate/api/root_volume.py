"""A server whose root disk is a volume (`nova boot --boot-volume`): what the body says of it, and whether it can be had."""

from __future__ import annotations

import dataclasses
from typing import Any

from oslo_utils import strutils
from sqlalchemy import orm

from nova_blockmigrate import exceptions
from nova_blockmigrate.api import errors
from nova_blockmigrate.api.operations import BROKER_ERRORS
from nova_blockmigrate.api.request import Request
from nova_blockmigrate.db import session
from nova_blockmigrate.db.models import Instance
from nova_blockmigrate.db.queries import volumes
from nova_blockmigrate.objects import ROOT_DEVICE, MappingState


@dataclasses.dataclass(frozen=True)
class RootVolume:
    id: str
    delete_on_termination: bool
    tag: str | None


def find(request: Request, body: dict[str, Any], count: int) -> RootVolume | None:
    """The volume that the server is to boot from; None when it boots from an image.

    :raises exceptions.Invalid: it cannot be had, or the body contradicts itself.
    """
    wanted = next((disk for disk in body.get("block_device_mapping_v2", []) if disk["source_type"] == "volume"), None)
    if wanted is None:
        return None
    if body.get("imageRef"):
        raise exceptions.ValidationError(detail="imageRef: a server boots from an image or from a volume, not from both")
    if count > 1:
        raise exceptions.ValidationError(detail="block_device_mapping_v2: one volume cannot be had by several servers")
    try:
        problem = request.conductor.volume_problem(request.context, wanted["uuid"])
    except BROKER_ERRORS as error:
        raise errors.ConductorUnavailable(action="look at the volume") from error
    except exceptions.NotFound as error:  # the fault is in the body, not in the path
        raise exceptions.Invalid(error.message) from error
    with session.reader() as db:  # (now that the volume is known to be this project's: others learn nothing of it)
        if volumes.find(db, wanted["uuid"]) is not None:
            raise exceptions.InvalidVolume(volume_id=wanted["uuid"], reason="it is attached to a server")
    if problem:
        raise exceptions.InvalidVolume(volume_id=wanted["uuid"], reason=problem)
    deleted_with_it = bool(strutils.bool_from_string(wanted.get("delete_on_termination", False)))
    return RootVolume(wanted["uuid"], deleted_with_it, wanted.get("tag"))


def map_to(db: orm.Session, server: Instance, root: RootVolume, request_id: str) -> None:
    """Give the volume to the new server; its host gets the right to it when it is built."""
    mapping = volumes.map_volume(
        db,
        server,
        root.id,
        f"/dev/{ROOT_DEVICE}",
        tag=root.tag,
        delete_on_termination=root.delete_on_termination,
        request_id=request_id,
    )
    volumes.update(db, mapping.id, state=MappingState.ATTACHED.value)


def is_root(server: Instance, target_dev: str) -> bool:
    """Whether a volume is the disk that the server boots from."""
    return server.image_id is None and not server.adopted and target_dev == ROOT_DEVICE
