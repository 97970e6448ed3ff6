"""Volumes of servers: list, attach, change, detach."""

from __future__ import annotations

import string
import uuid as uuids
from collections.abc import Collection
from typing import Any

from oslo_utils import strutils

from nova_blockmigrate import exceptions, policies
from nova_blockmigrate.api import errors, root_volume
from nova_blockmigrate.api.operations import BROKER_ERRORS, begin, invalid_state
from nova_blockmigrate.api.request import Request
from nova_blockmigrate.api.routes import route
from nova_blockmigrate.api.schemas import volumes as schemas
from nova_blockmigrate.db import session
from nova_blockmigrate.db.models import BlockDeviceMapping, Instance
from nova_blockmigrate.db.queries import actions, instances, volumes
from nova_blockmigrate.objects import MappingState, TaskState, VmState

_LIST, _ONE = "/servers/{server_id}/os-volume_attachments", "/servers/{server_id}/os-volume_attachments/{volume_id}"
_STATES = (VmState.ACTIVE, VmState.PAUSED, VmState.STOPPED)
"""In which a server's disks may change; a suspended one's memory is saved together with them."""


class DeviceNameInUse(exceptions.Invalid):
    template = "Server {server} has a disk {device} already: name another one, or none to have one chosen."


class RootNotDetachable(exceptions.Forbidden):
    template = "Volume {volume_id} cannot be detached: server {server} boots from it."


class SwapNotSupported(exceptions.Invalid):
    template = (
        "A volume of a server cannot be swapped for another one: detach {volume_id} and attach the other. "
        "delete_on_termination can be changed from microversion 2.85 on."
    )


@route("GET", _LIST, policy=policies.VOLUMES_INDEX, query=schemas.PAGE)
def index(request: Request, server: Instance) -> dict[str, Any]:
    first, limit = request.query.integer("offset") or 0, request.query.integer("limit")
    last = None if limit is None else first + limit
    return {"volumeAttachments": [view(request, server, mapping) for mapping in server.volumes[first:last]]}


@route("GET", _ONE, policy=policies.VOLUMES_SHOW)
def show(request: Request, server: Instance, volume_id: str) -> dict[str, Any]:
    with session.reader() as db:
        return {"volumeAttachment": view(request, server, volumes.get(db, server, volume_id))}


@route("POST", _LIST, policy=policies.VOLUMES_CREATE, body=schemas.ATTACH)
def attach(request: Request, server: Instance) -> dict[str, Any]:
    """The name of the disk is decided here; attaching goes on after the answer, as with Nova."""
    wanted = request.body["volumeAttachment"]
    volume_id = str(uuids.UUID(wanted["volumeId"]))
    _refuse_unless_possible(server, "attach_volume")
    taken = {*_look(request, server, volume_id)}
    with session.writer() as db:
        found = begin(db, request, server, "attach_volume", task_state=TaskState.ATTACHING_VOLUME, vm_states=_STATES)
        taken |= {mapping.target_dev for mapping in volumes.of_instance(db, found.id)}
        mapping = volumes.map_volume(
            db,
            found,
            volume_id,
            _device(server, wanted.get("device"), taken),
            tag=wanted.get("tag"),
            delete_on_termination=_boolean(wanted.get("delete_on_termination", False)),
            busy_until=volumes.patience(),
            **_request_ids(request),
        )
    try:
        request.conductor.attach_volume(request.context, server.uuid, mapping.id)
    except BROKER_ERRORS as error:
        _give_up(request, server)
        with session.writer() as db:
            volumes.unmap(db, mapping.id)
        raise errors.ConductorUnavailable(action="attach the volume") from error
    return {"volumeAttachment": _created(request, server, mapping)}


@route("PUT", _ONE, policy=policies.VOLUMES_UPDATE, body=schemas.UPDATE, status=202)
def update(request: Request, server: Instance, volume_id: str) -> None:
    wanted = request.body["volumeAttachment"]
    with session.writer() as db:
        mapping = volumes.get(db, server, volume_id)
        if wanted["volumeId"] != volume_id or "delete_on_termination" not in wanted:
            raise SwapNotSupported(volume_id=volume_id)
        volumes.update(db, mapping.id, delete_on_termination=_boolean(wanted["delete_on_termination"]))


@route("DELETE", _ONE, policy=policies.VOLUMES_DELETE, status=202)
def detach(request: Request, server: Instance, volume_id: str) -> None:
    with session.writer() as db:
        mapping = volumes.get(db, server, volume_id)
        if root_volume.is_root(server, mapping.target_dev):
            raise RootNotDetachable(volume_id=volume_id, server=server.uuid)
        begin(db, request, server, "detach_volume", task_state=TaskState.DETACHING_VOLUME, vm_states=_STATES)
        if not volumes.swap_state(db, mapping.id, [MappingState.ATTACHED], MappingState.DETACHING):
            raise exceptions.InvalidVolume(volume_id=volume_id, reason=f"it is {mapping.state} already")
        volumes.update(db, mapping.id, busy_until=volumes.patience(), **_request_ids(request))
    try:
        request.conductor.detach_volume(request.context, server.uuid, mapping.id)
    except BROKER_ERRORS as error:
        with session.writer() as db:
            volumes.update(db, mapping.id, state=MappingState.ATTACHED.value, busy_until=None)
        _give_up(request, server)
        raise errors.ConductorUnavailable(action="detach the volume") from error


def _request_ids(request: Request) -> dict[str, str | None]:
    """For who finishes the work, should the first one at it die."""
    return {"request_id": request.context.request_id, "global_request_id": request.context.global_request_id}


def view(request: Request, server: Instance, mapping: BlockDeviceMapping) -> dict[str, Any]:
    minor = request.microversion
    shown: dict[str, Any] = {"volumeId": mapping.volume_id, "serverId": server.uuid, "device": mapping.device_name}
    if minor < 89:
        shown["id"] = mapping.volume_id
    else:
        here = [each.attachment_id for each in mapping.attachments if each.host == server.host]
        shown |= {"attachment_id": here[0] if here else None, "bdm_uuid": mapping.uuid}
    if minor >= 70:
        shown["tag"] = mapping.tag
    if minor >= 79:
        shown["delete_on_termination"] = mapping.delete_on_termination
    return shown


def _created(request: Request, server: Instance, mapping: BlockDeviceMapping) -> dict[str, Any]:
    """The answer to POST; it keeps the id in every microversion."""
    shown = view(request, server, mapping) | {"id": mapping.volume_id}
    for name in ("attachment_id", "bdm_uuid"):
        shown.pop(name, None)
    return shown


def _refuse_unless_possible(server: Instance, method: str) -> None:
    """Before the conductor is asked; `begin` makes sure of it."""
    if server.vm_state not in [state.value for state in _STATES]:
        raise invalid_state(method, server, "vm_state")
    if server.task_state is not None:
        raise invalid_state(method, server, "task_state")


def _look(request: Request, server: Instance, volume_id: str) -> list[str]:
    """See that the volume can be had; returns the names of the disks that the server has already."""
    try:
        found = request.conductor.look_at_volume(request.context, server.uuid, volume_id)
    except BROKER_ERRORS as error:
        raise errors.ConductorUnavailable(action="attach the volume") from error
    with session.reader() as db:  # (now that the volume is known to be this project's: others learn nothing of it)
        if volumes.find(db, volume_id) is not None:
            raise exceptions.InvalidVolume(volume_id=volume_id, reason="it is attached to a server")
    if found["problem"]:
        raise exceptions.InvalidVolume(volume_id=volume_id, reason=found["problem"])
    names: list[str] = found["disks"]
    return names


def _device(server: Instance, wanted: str | None, taken: Collection[str]) -> str:
    """The disk's name: the wanted one, or the first that is free."""
    if wanted:
        name = wanted.removeprefix("/dev/")
        if name in taken:
            raise DeviceNameInUse(server=server.uuid, device=f"/dev/{name}")
        return f"/dev/{name}"
    return next(f"/dev/vd{letter}" for letter in string.ascii_lowercase[1:] if f"vd{letter}" not in taken)


def _boolean(value: Any) -> bool:
    return bool(strutils.bool_from_string(value))


def _give_up(request: Request, server: Instance) -> None:
    """No conductor could be told: the server is released again."""
    busy = [TaskState.ATTACHING_VOLUME.value, TaskState.DETACHING_VOLUME.value]
    with session.writer() as db:
        instances.swap_task_state(db, server.uuid, busy, None)
        actions.finish(db, server.uuid, request.context.request_id, "No conductor could be reached.")
