"""os-migrateLive: accept a live migration."""

from __future__ import annotations

import dataclasses

from oslo_utils import strutils
from sqlalchemy import orm

from nova_blockmigrate import breakpoints, exceptions, policies
from nova_blockmigrate.api.operations import BROKER_ERRORS, LOG, begin
from nova_blockmigrate.api.request import Request
from nova_blockmigrate.api.routes import action
from nova_blockmigrate.api.schemas import migrate_live as schema
from nova_blockmigrate.db import session
from nova_blockmigrate.db.models import Instance, Migration
from nova_blockmigrate.db.queries import compute_nodes, migrations
from nova_blockmigrate.objects import MigrationStatus, TaskState, VmState

_ASYNCHRONOUS_FROM = 34


@dataclasses.dataclass(frozen=True)
class _Target:
    host: str | None
    """None: a conductor chooses."""
    block_migration: str
    """"true", "false" or "auto"."""


@action("os-migrateLive", policy=policies.MIGRATE_LIVE, body=schema.BODY)
def migrate_live(request: Request, server: Instance) -> None:
    target = _parse(request)
    if target.host:
        request.authorize(policies.MIGRATE_LIVE_HOST, {"project_id": server.project_id, "user_id": server.user_id})
    with session.writer() as db:
        migration = _accept(db, request, server, target)  # 409 when another one runs
    breakpoints.reached("api.accepted")
    _tell_conductor(request, migration)


def _parse(request: Request) -> _Target:
    """
    :raises exceptions.ValidationError: force without a host.
    """
    asked = request.body["block_migration"]
    block_migration = "auto" if asked == "auto" else str(strutils.bool_from_string(asked, strict=True)).lower()
    if strutils.bool_from_string(request.body.get("force", False)) and not request.body["host"]:
        raise exceptions.ValidationError(detail="force needs a host to be forced to")
    return _Target(request.body["host"], block_migration)


def _accept(db: orm.Session, request: Request, server: Instance, target: _Target) -> Migration:
    """All or nothing: the server taken, the migration recorded, the action begun."""
    movable = (VmState.ACTIVE, VmState.PAUSED)
    found = begin(db, request, server, "live-migration", task_state=TaskState.MIGRATING, vm_states=movable)
    if found.host is None or found.node is None:
        raise exceptions.InstanceInvalidState(method="live-migration", instance_id=found.uuid, attribute="host", state=found.host)
    if target.host:
        compute_nodes.get_by_host(db, target.host)
        if target.host == found.host:
            raise exceptions.UnableToMigrateToSelf(instance_id=found.uuid, host=target.host)
    return migrations.create(
        db,
        instance_uuid=found.uuid,
        status=MigrationStatus.ACCEPTED.value,
        step="check",
        source_compute=found.host,
        source_node=found.node,
        requested_host=target.host,
        dest_compute=target.host,
        block_migration=target.block_migration,
        request_id=request.context.request_id,
        global_request_id=request.context.global_request_id,
        user_id=request.context.user_id or "",
        project_id=request.context.project_id or "",
    )


def _tell_conductor(request: Request, migration: Migration) -> None:
    """The row is what counts: conductors look for such rows, so a message that is lost only costs seconds.

    Below 2.34 the answer comes after the checks, and is their error when one failed.
    """
    try:
        if request.microversion >= _ASYNCHRONOUS_FROM:
            request.conductor.live_migrate(request.context, migration.id)
        else:
            request.conductor.live_migrate_after_checks(request.context, migration.id)
    except (exceptions.MigrationPreCheckError, exceptions.NoValidHost) as error:
        if request.can(policies.PREFLIGHT):
            raise
        raise type(error)(reason="an administrator can ask which check failed.") from error  # findings name hosts
    except BROKER_ERRORS as error:
        LOG.warning("Migration %s waits until a conductor finds it: no conductor answers (%s)", migration.id, error)
