"""POST /servers: one server or several, from a local image, on embedded networks."""

from __future__ import annotations

import dataclasses
import re
import secrets
import uuid as uuids
from typing import Any

from oslo_utils import strutils
from sqlalchemy import orm

from nova_blockmigrate import exceptions, policies
from nova_blockmigrate.api import belongings, hosts, root_volume
from nova_blockmigrate.api.image_catalogue import NO_IMAGE, WantedImage
from nova_blockmigrate.api.operations import BROKER_ERRORS, LOG, record
from nova_blockmigrate.api.request import Request, Response
from nova_blockmigrate.api.routes import route
from nova_blockmigrate.api.schemas import servers as schemas
from nova_blockmigrate.api.views import servers as views
from nova_blockmigrate.db import session
from nova_blockmigrate.db.models import Flavor, Instance, Network, SecurityGroup, utcnow
from nova_blockmigrate.db.queries import (
    actions,
    compute_nodes,
    flavor_access,
    instances,
    networks,
    security_groups,
    server_tasks,
)
from nova_blockmigrate.objects import TaskState, VmState

_MOST_AT_ONCE = 100


class MultipleNetworks(exceptions.Conflict):
    template = "There are several networks: name the one to use, or 'none'."


class NoNetwork(exceptions.Invalid):
    template = "There is no network to use: make one with `nova-blockmigrate-manage network create`, or say 'none'."


@dataclasses.dataclass(frozen=True)
class _Wanted:
    """What the body asks for, found and checked."""

    flavor: Flavor
    image: WantedImage
    networks: list[Network]
    security_groups: list[SecurityGroup]
    requested_networks: Any
    """What the body says of networks, for the network service that owns the ports; None where we do."""
    host: str | None
    count: int
    group_ids: tuple[str, ...] = ()
    """Security groups of the network service that owns the ports."""
    root: root_volume.RootVolume | None = None
    """What it boots from instead of an image."""


@route("POST", "/servers", policy=policies.SERVERS_CREATE, status=202, body=schemas.CREATE)
def create(request: Request) -> Response:
    body = request.body["server"]
    count = _count(body)
    host = _requested_host(request, body)
    root = root_volume.find(request, body, count)
    image = NO_IMAGE if root else _find_image(request, body)
    group_ids = _foreign_groups(request, body)
    with session.writer() as db:
        wanted = dataclasses.replace(_find(db, request, body, image, host, count), root=root, group_ids=group_ids)
        reservation = "r-" + secrets.token_hex(4)
        more = belongings.columns(db, request, wanted.flavor, count)
        made = [_insert(db, request, body, wanted, index, reservation, more) for index in range(count)]
    for server in made:
        _build(request, server)
    if strutils.bool_from_string(body.get("return_reservation_id", False), strict=True):
        return Response({"reservation_id": reservation})
    password = body.get("adminPass") or secrets.token_urlsafe(9)
    shown = views.created(request, made[0], password, _group_names(body) if group_ids else ())
    return Response({"server": shown}, {"Location": shown["links"][0]["href"]})


def _count(body: dict[str, Any]) -> int:
    least = int(body.get("min_count", 1))
    most = int(body.get("max_count", least))
    if least > most:
        raise exceptions.ValidationError(detail="min_count must not be greater than max_count")
    if most > _MOST_AT_ONCE:
        raise exceptions.ValidationError(detail=f"max_count: at most {_MOST_AT_ONCE} servers at once")
    return most


def _requested_host(request: Request, body: dict[str, Any]) -> str | None:
    """The host that the user named: as "ZONE:HOST", or from 2.74 by itself."""
    zone, _, named = body.get("availability_zone", "").partition(":")
    if zone not in ("", hosts.ZONE):
        raise exceptions.ValidationError(
            detail=f"the requested availability zone {zone!r} is not available: there is {hosts.ZONE!r}"
        )
    forced = named.partition(":")[0]
    if forced:
        request.authorize(policies.SERVERS_FORCED_HOST)
    host: str | None = body.get("host") or body.get("hypervisor_hostname")
    if host:
        request.authorize(policies.SERVERS_REQUESTED_DESTINATION)
    if forced and host:
        raise exceptions.ValidationError(detail="host: name it here or in the availability zone, not in both")
    return forced or host or None


def _find_image(request: Request, body: dict[str, Any]) -> WantedImage:
    """
    :raises exceptions.Invalid: it does not exist for the caller, or no server can be made from it.
    """
    image_id = body.get("imageRef") or next((disk["uuid"] for disk in body.get("block_device_mapping_v2", [])), None)
    if not image_id:
        raise exceptions.ValidationError(detail="imageRef: servers boot from an image; name one")
    try:
        return request.deployment.images.find(request.context, image_id)
    except exceptions.NotFound as error:  # the fault is in the body, not in the path
        raise exceptions.Invalid(error.message) from error


def _find(db: orm.Session, request: Request, body: dict[str, Any], image: WantedImage, host: str | None, count: int) -> _Wanted:
    """
    :raises exceptions.Invalid: something named does not exist or does not fit.
    """
    try:
        flavor = flavor_access.visible(db, request.context, str(body["flavorRef"]).rsplit("/", 1)[-1])
        foreign = request.deployment.network.owns_ports
        found = [] if foreign else _networks(db, body.get("networks"))
        groups = _security_groups(db, request, body) if any(network.port_security for network in found) else []
    except exceptions.NotFound as error:  # the fault is in the body, not in the path
        raise exceptions.Invalid(error.message) from error
    if host:
        compute_nodes.get_by_host(db, host)
    image.check_fits(flavor)
    asked = _asked_networks(body, count) if foreign else None
    return _Wanted(flavor, image, found, groups, asked, host, count)


def _asked_networks(body: dict[str, Any], count: int) -> Any:
    """What the conductor asks the network service for. Whether it is there shows only then, as the API waits for nobody."""
    asked = body.get("networks") or None
    if count > 1 and isinstance(asked, list) and any("port" in one or "fixed_ip" in one for one in asked):
        raise exceptions.ValidationError(detail="networks: one port or address cannot be had by several servers")
    return asked


def _networks(db: orm.Session, wanted: Any) -> list[Network]:
    if wanted == "none":
        return []
    if isinstance(wanted, list) and wanted:
        if any("port" in one or "fixed_ip" in one for one in wanted):
            raise exceptions.ValidationError(
                detail="networks: embedded networks give ports and addresses by themselves; name a uuid"
            )
        return [networks.get(db, each["uuid"]) for each in wanted if "uuid" in each]
    there = networks.search(db)
    if len(there) > 1:
        raise MultipleNetworks()
    if wanted == "auto" and not there:
        raise exceptions.Invalid(
            "There is no network to use: make one with `nova-blockmigrate-manage network create`, or say 'none'."
        )
    return there


def _security_groups(db: orm.Session, request: Request, body: dict[str, Any]) -> list[SecurityGroup]:
    """Those that the body names, by name or id; the project's default one when it names none."""
    return [security_groups.get(db, request.context.project_id or "", name) for name in _group_names(body)]


def _foreign_groups(request: Request, body: dict[str, Any]) -> tuple[str, ...]:
    """Ids of the groups that the body names, where a network service owns them; it finds the default one by itself.

    :raises exceptions.Invalid: there is no such group.
    """
    names = _group_names(body)
    if not request.deployment.network.owns_ports or names == [security_groups.DEFAULT]:
        return ()
    try:
        return tuple(request.deployment.network.find_groups(request.context.project_id or "", names))
    except exceptions.NotFound as error:  # the fault is in the body, not in the path
        raise exceptions.Invalid(error.message) from error


def _group_names(body: dict[str, Any]) -> list[str]:
    named = [one["name"] for one in body.get("security_groups") or () if "name" in one]
    return list(dict.fromkeys(named)) or [security_groups.DEFAULT]


def _insert(
    db: orm.Session, request: Request, body: dict[str, Any], wanted: _Wanted, index: int, reservation: str, more: dict[str, Any]
) -> Instance:
    name = body["name"] if wanted.count == 1 else f"{body['name']}-{index + 1}"
    flavor, image = wanted.flavor, wanted.image
    uuid = str(uuids.uuid4())
    server = instances.create(
        db,
        uuid=uuid,
        project_id=request.context.project_id,
        user_id=request.context.user_id,
        display_name=name,
        description=body.get("description") if request.microversion >= 19 else name,
        hostname=body.get("hostname") or host_name(name, uuid),
        vm_state=VmState.BUILDING.value,
        task_state=TaskState.SCHEDULING.value,
        image_id=image.id or None,
        image_format=image.disk_format,
        image_size_bytes=image.size_bytes,
        image_sha256=image.sha256,
        flavor={
            "flavorid": flavor.flavorid,
            "name": flavor.name,
            "memory_mib": flavor.memory_mib,
            "vcpus": flavor.vcpus,
            "root_gib": flavor.root_gib,
            "extra_specs": flavor.extra_specs,
        },
        memory_mib=flavor.memory_mib,
        vcpus=flavor.vcpus,
        root_gib=0 if wanted.root else flavor.root_gib,
        availability_zone=hosts.ZONE,
        requested_host=wanted.host,
        server_metadata=body.get("metadata", {}),
        tags=sorted(set(body.get("tags", []))),
        user_data=body.get("user_data"),
        reservation_id=reservation,
        requested_networks=wanted.requested_networks,
        **more,
    )
    for network in wanted.networks:
        port = networks.allocate_port(db, network.id, server.id)
        for group in wanted.security_groups if network.port_security else ():
            security_groups.bind(db, [port.id], group.id)
    if wanted.root:
        root_volume.map_to(db, server, wanted.root, request.context.request_id)
    db.refresh(server)
    record(db, request, server, "create")
    context = request.context
    arguments = {"security_groups": list(wanted.group_ids)} if wanted.group_ids else {}
    server_tasks.put(db, server.uuid, "build", arguments, context.request_id, context.global_request_id)
    return server


def host_name(name: str, uuid: str) -> str:
    """What the guest may call itself: the server's name as far as a host name can say it."""
    plain = re.sub(r"[^a-z0-9-]+", "-", name.lower()).strip("-")[:63]
    return plain or f"server-{uuid}"


def _build(request: Request, server: Instance) -> None:
    """Tell a conductor; if none can be told, the server says so as Nova's do: status ERROR and a fault."""
    try:
        request.conductor.run_server_task(request.context, server.uuid)
    except BROKER_ERRORS as error:
        LOG.warning("Server %s could not be sent to a conductor: %s", server.uuid, error)
        now = utcnow()
        message = "No conductor could be reached: check the message broker and nova-blockmigrate-conductor."
        fault = {"code": 503, "created": now.strftime("%Y-%m-%dT%H:%M:%SZ"), "message": message}
        with session.writer() as db:
            if not server_tasks.end(db, server.uuid, request.context.request_id):
                return  # a conductor found it, and did it
            instances.update(db, server.uuid, vm_state=VmState.ERROR.value, task_state=None, fault=fault)
            actions.finish(db, server.uuid, request.context.request_id, message)
