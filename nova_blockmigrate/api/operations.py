"""How the API begins something on a server: state checked and taken in one transaction, then a message to a conductor.

Of two requests at the same time one wins; the other gets 409.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import oslo_messaging
from sqlalchemy import orm

from nova_blockmigrate import exceptions, policies, rpc
from nova_blockmigrate.api import errors
from nova_blockmigrate.api.request import Request
from nova_blockmigrate.db import session
from nova_blockmigrate.db.models import Instance
from nova_blockmigrate.db.queries import actions, instances, server_tasks
from nova_blockmigrate.objects import TaskState, VmState

LOG = logging.getLogger(__name__)
BROKER_ERRORS = (oslo_messaging.MessagingException, *rpc.UNANSWERED)


def refuse_if_locked(request: Request, server: Instance) -> None:
    """
    :raises exceptions.InstanceIsLocked:
    """
    target = {"project_id": server.project_id, "user_id": server.user_id}
    if server.locked and not request.can(policies.LOCK_OVERRIDE, target):
        raise exceptions.InstanceIsLocked(instance_id=server.uuid)


def begin(
    db: orm.Session,
    request: Request,
    server: Instance,
    action: str,
    *,
    expected: Sequence[str | None] = (None,),
    task_state: TaskState,
    vm_states: Sequence[VmState] | None = None,
    arguments: dict[str, Any] | None = None,
) -> Instance:
    """Take the server for an action: not locked, in one of these states, and nobody else at it.

    `arguments`: those of a task for a conductor; None when the action is none.

    :raises exceptions.InstanceIsLocked:
    :raises exceptions.InstanceInvalidState:
    """
    found = instances.get(db, server.uuid)
    refuse_if_locked(request, found)
    allowed = None if vm_states is None else [state.value for state in vm_states]
    if allowed is not None and found.vm_state not in allowed:
        raise invalid_state(action, found, "vm_state")
    if not instances.swap_task_state(db, found.uuid, expected, task_state.value, allowed):
        raise invalid_state(action, instances.get(db, found.uuid), "task_state")
    record(db, request, server, action)
    if arguments is not None:
        context = request.context
        server_tasks.put(db, found.uuid, action, arguments, context.request_id, context.global_request_id)
    return found


def record(db: orm.Session, request: Request, server: Instance, action: str) -> None:
    """Begin an instance action."""
    context = request.context
    actions.start(db, server.uuid, action, context.request_id, context.user_id or "", context.project_id or "")


def send(request: Request, server: Instance, action: str) -> None:
    """Tell a conductor that the server has a task; if none can be told, the server is released again.

    :raises errors.ConductorUnavailable:
    """
    try:
        request.conductor.run_server_task(request.context, server.uuid)
    except BROKER_ERRORS as error:
        LOG.warning("%s of server %s could not be sent to a conductor: %s", action, server.uuid, error)
        with session.writer() as db:
            if not server_tasks.end(db, server.uuid, request.context.request_id):
                return  # a conductor found it, and did it
            instances.update(db, server.uuid, task_state=server.task_state)
            actions.finish(db, server.uuid, request.context.request_id, "No conductor could be reached.")
        raise errors.ConductorUnavailable(action=f"{action} the server") from error


def invalid_state(method: str, server: Instance, attribute: str) -> exceptions.InstanceInvalidState:
    state = getattr(server, attribute)
    return exceptions.InstanceInvalidState(method=method, instance_id=server.uuid, attribute=attribute, state=state)
