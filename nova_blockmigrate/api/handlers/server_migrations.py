"""A server's migrations in progress: list, show, abort, force to complete."""

from __future__ import annotations

from typing import Any

from sqlalchemy import orm

from nova_blockmigrate import exceptions, policies
from nova_blockmigrate.api.operations import BROKER_ERRORS, LOG, invalid_state, record, refuse_if_locked
from nova_blockmigrate.api.query import number
from nova_blockmigrate.api.request import Request
from nova_blockmigrate.api.routes import action, route
from nova_blockmigrate.api.schemas import server_migrations as schemas
from nova_blockmigrate.api.views import migrations as views
from nova_blockmigrate.db import session
from nova_blockmigrate.db.models import Instance, Migration
from nova_blockmigrate.db.queries import actions, instances, migration_lists, migrations
from nova_blockmigrate.objects import MigrationStatus, TaskState, VmState

_PATH = "/servers/{server_id}/migrations"
_ABORTABLE = {MigrationStatus.RUNNING}
_ABORTABLE_FROM_65 = _ABORTABLE | {MigrationStatus.ACCEPTED, MigrationStatus.QUEUED, MigrationStatus.PREPARING}


@route("GET", _PATH, policy=policies.SERVER_MIGRATIONS_INDEX, minimum=23)
def index(request: Request, server: Instance) -> dict[str, Any]:
    with session.reader() as db:
        found = migration_lists.in_progress(db, server.uuid)
    with_hosts = request.can(policies.SERVER_MIGRATIONS_HOST)
    return {"migrations": [views.of_server(request, migration, with_hosts) for migration in found]}


@route("GET", _PATH + "/{migration_id}", policy=policies.SERVER_MIGRATIONS_SHOW, minimum=23)
def show(request: Request, server: Instance, migration_id: str) -> dict[str, Any]:
    with session.reader() as db:
        migration = _find(db, server, migration_id)
    if MigrationStatus(migration.status).is_final:
        raise exceptions.MigrationNotFoundForInstance(migration_id=migration_id, instance_id=server.uuid)
    return {"migration": views.of_server(request, migration, request.can(policies.SERVER_MIGRATIONS_HOST))}


@route("DELETE", _PATH + "/{migration_id}", policy=policies.SERVER_MIGRATIONS_DELETE, status=202, minimum=24)
def abort(request: Request, server: Instance, migration_id: str) -> None:
    """The wish is recorded: a conductor that cannot be told now finds it."""
    abortable = _ABORTABLE_FROM_65 if request.microversion >= 65 else _ABORTABLE
    with session.writer() as db:
        migration = _find(db, server, migration_id)
        found = instances.get(db, server.uuid)
        refuse_if_locked(request, found)
        if found.task_state != TaskState.MIGRATING:
            raise invalid_state("abort live migration", found, "task_state")
        if migration.status not in abortable:
            raise _invalid_migration_state(migration, "abort live migration")
        migrations.update(db, migration.id, abort_requested=True)
        record(db, request, server, "live_migration_cancel")
        actions.finish(db, server.uuid, request.context.request_id)
    try:
        request.conductor.abort_migration(request.context, migration.id)
    except BROKER_ERRORS as error:
        LOG.warning("The abort of migration %s waits until its conductor looks: none can be told (%s)", migration.id, error)


@action("force_complete", path=_PATH + "/{migration_id}/action", policy=policies.SERVER_MIGRATIONS_FORCE,
        body=schemas.FORCE_COMPLETE, minimum=22)  # fmt: skip
def force_complete(request: Request, server: Instance, migration_id: str) -> None:
    """As with `abort`, the wish is recorded."""
    with session.writer() as db:
        migration = _find(db, server, migration_id)
        found = instances.get(db, server.uuid)
        if found.vm_state not in (VmState.ACTIVE, VmState.PAUSED):
            raise invalid_state("force_complete", found, "vm_state")
        if found.task_state != TaskState.MIGRATING:
            raise invalid_state("force_complete", found, "task_state")
        if migration.status != MigrationStatus.RUNNING:
            raise _invalid_migration_state(migration, "force_complete")
        migrations.update(db, migration.id, force_complete_requested=True)
        record(db, request, server, "live_migration_force_complete")
        actions.finish(db, server.uuid, request.context.request_id)
    try:
        request.conductor.force_complete(request.context, migration.id)
    except BROKER_ERRORS as error:
        LOG.warning("The end of migration %s waits until its conductor looks: none can be told (%s)", migration.id, error)


def _find(db: orm.Session, server: Instance, migration_id: str) -> Migration:
    """
    :raises exceptions.MigrationNotFoundForInstance:
    """
    found = db.get(Migration, number(migration_id) or 0)
    if found is None or found.instance_uuid != server.uuid:
        raise exceptions.MigrationNotFoundForInstance(migration_id=migration_id, instance_id=server.uuid)
    return found


def _invalid_migration_state(migration: Migration, method: str) -> exceptions.InvalidMigrationState:
    return exceptions.InvalidMigrationState(
        migration_id=migration.id, instance_id=migration.instance_uuid, state=migration.status, method=method
    )
