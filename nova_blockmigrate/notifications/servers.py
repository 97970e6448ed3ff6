"""What is told of servers: one function for each kind of occasion. All do nothing where notifications are off."""

from __future__ import annotations

from nova_blockmigrate.context import RequestContext, service_context
from nova_blockmigrate.db import models, session
from nova_blockmigrate.db.queries import actions, instances
from nova_blockmigrate.notifications import payloads, sending

COMPUTE, CONDUCTOR, API = "nova-compute", "nova-conductor", "nova-api"

AFTER_STEP: dict[str, tuple[tuple[str, str], ...]] = {
    "queue": (("live_migration_pre.start", "dest_compute"),),
    "prepare_destination": (("live_migration_pre.end", "dest_compute"),),
    "transfer": (("live_migration_post.start", "source_compute"),),
    "record": (("live_migration_post_dest.start", "dest_compute"),),
    "finish_destination": (("live_migration_post_dest.end", "dest_compute"),),
    "clean_source": (("live_migration_post.end", "source_compute"),),
}
"""What is told when a step of a migration is done, and whose publisher it is."""

OF_ACTION = {
    "build": "create",
    "delete": "delete",
    "start": "power_on",
    "stop": "power_off",
    "reboot": "reboot",
    "pause": "pause",
    "unpause": "unpause",
    "suspend": "suspend",
    "resume": "resume",
}
"""Nova's names of what is done to servers."""


def step_done(migration: models.Migration, step: str) -> None:
    for phase, host in AFTER_STEP.get(step, ()):
        _of_migration(migration, phase, getattr(migration, host))


def rolling_back(migration: models.Migration, reached_destination: bool, where: str, error: BaseException) -> None:
    """A migration turned back, for `error` in a step of the service `where` ("nova-compute:host")."""
    if not sending.is_on():
        return
    sending.emit(_context(migration), where, "compute.exception", payloads.exception(error), "error")
    _of_migration(migration, "live_migration_rollback.start", migration.source_compute)
    if reached_destination:
        _of_migration(migration, "live_migration_rollback_dest.start", migration.dest_compute)


def rolled_back(migration: models.Migration, destination: str | None) -> None:
    """`destination`: the host on which something was undone."""
    if destination:
        _of_migration(migration, "live_migration_rollback_dest.end", destination)
    _of_migration(migration, "live_migration_rollback.end", migration.source_compute)


def wish(context: RequestContext, migration: models.Migration, phase: str) -> None:
    """A user's abort or force_complete; `phase`: live_migration_abort.start and the like."""
    _of_migration(migration, phase, migration.source_compute, context)


def server_action(context: RequestContext, server_uuid: str, action: str, phase: str, error: BaseException | None = None) -> None:
    """Something other than a migration is done to a server; `phase` is start, end or error."""
    if not sending.is_on():
        return
    with session.reader() as db:
        instance = instances.get(db, server_uuid, include_deleted=True)
        begun = actions.find(db, server_uuid, context.request_id)
    initiator = payloads.Initiator(
        context.request_id, begun.user_id if begun else context.user_id, begun.project_id if begun else context.project_id
    )
    make = payloads.instance_create if action == "build" else payloads.instance_action
    publisher = f"{COMPUTE}:{instance.host}" if instance.host else f"{CONDUCTOR}:"
    priority = "error" if phase == "error" else "info"
    sending.emit(context, publisher, f"instance.{OF_ACTION[action]}.{phase}", make(instance, initiator, error), priority)


def locked(context: RequestContext, instance: models.Instance, event: str, host: str) -> None:
    """`event`: lock or unlock, which the API of `host` does by itself."""
    if sending.is_on():
        initiator = payloads.Initiator(context.request_id, context.user_id, context.project_id)
        sending.emit(context, f"{API}:{host}", f"instance.{event}", payloads.instance_action(instance, initiator))


def _of_migration(migration: models.Migration, phase: str, host: str | None, context: RequestContext | None = None) -> None:
    if not sending.is_on() or host is None:
        return
    with session.reader() as db:
        instance = instances.get(db, migration.instance_uuid, include_deleted=True)
    if context is None:
        initiator = payloads.Initiator(migration.request_id, migration.user_id, migration.project_id)
    else:
        initiator = payloads.Initiator(context.request_id, context.user_id, context.project_id)
    payload = payloads.instance_action(instance, initiator)
    sending.emit(context or _context(migration), f"{COMPUTE}:{host}", f"instance.{phase}", payload)


def _context(migration: models.Migration) -> RequestContext:
    return service_context(migration.request_id, migration.global_request_id)
