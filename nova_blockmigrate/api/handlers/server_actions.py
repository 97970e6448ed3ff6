"""What is done to a server by POST /servers/{id}/action, other than os-migrateLive."""

from __future__ import annotations

from typing import Any

from nova_blockmigrate import exceptions, policies
from nova_blockmigrate.api import errors
from nova_blockmigrate.api.operations import BROKER_ERRORS, begin, invalid_state, record, send
from nova_blockmigrate.api.request import Request
from nova_blockmigrate.api.routes import action
from nova_blockmigrate.api.schemas import server_actions as schemas
from nova_blockmigrate.db import session
from nova_blockmigrate.db.models import Instance
from nova_blockmigrate.db.queries import actions, instances, migrations
from nova_blockmigrate.notifications import servers as notified
from nova_blockmigrate.objects import TaskState, VmState

_CONSOLE_BYTES_PER_LINE = 512
_CONSOLE_MOST_BYTES = 100 * 1024


class ServerIsMigrating(exceptions.Conflict):
    template = "Server {server} is in live migration {migration}: abort that one instead."


def _power_action(key: str, name: str, policy: str, task_state: TaskState, vm_states: tuple[VmState, ...]) -> None:
    """Declare an action without arguments that a conductor performs."""

    @action(key, policy=policy, body=schemas.plain(key))
    def perform(request: Request, server: Instance) -> None:
        with session.writer() as db:
            begin(db, request, server, name, task_state=task_state, vm_states=vm_states, arguments={})
        send(request, server, name)


_power_action("os-start", "start", policies.SERVERS_START, TaskState.POWERING_ON, (VmState.STOPPED,))
_power_action("os-stop", "stop", policies.SERVERS_STOP, TaskState.POWERING_OFF, (VmState.ACTIVE, VmState.ERROR))
_power_action("pause", "pause", policies.PAUSE, TaskState.PAUSING, (VmState.ACTIVE,))
_power_action("unpause", "unpause", policies.UNPAUSE, TaskState.UNPAUSING, (VmState.PAUSED,))
_power_action("suspend", "suspend", policies.SUSPEND, TaskState.SUSPENDING, (VmState.ACTIVE,))
_power_action("resume", "resume", policies.RESUME, TaskState.RESUMING, (VmState.SUSPENDED,))


@action("reboot", policy=policies.SERVERS_REBOOT, body=schemas.REBOOT)
def reboot(request: Request, server: Instance) -> None:
    hard = request.body["type"].upper() == "HARD"
    anything_but_building = (VmState.ACTIVE, VmState.STOPPED, VmState.PAUSED, VmState.SUSPENDED, VmState.ERROR)
    with session.writer() as db:
        vm_states = anything_but_building if hard else (VmState.ACTIVE,)
        task_state, arguments = TaskState.REBOOTING, {"hard": hard}
        begin(db, request, server, "reboot", task_state=task_state, vm_states=vm_states, arguments=arguments)
    send(request, server, "reboot")


@action("lock", policy=policies.LOCK, body=schemas.LOCK)
def lock(request: Request, server: Instance) -> None:
    reason = (request.body or {}).get("locked_reason") if request.microversion >= 73 and isinstance(request.body, dict) else None
    with session.writer() as db:
        changed = instances.update(db, server.uuid, locked=True, locked_reason=reason)
        _record_done(db, request, server, "lock")
    notified.locked(request.context, changed, "lock", request.conf.host)


@action("unlock", policy=policies.UNLOCK, body=schemas.plain("unlock"))
def unlock(request: Request, server: Instance) -> None:
    with session.writer() as db:
        changed = instances.update(db, server.uuid, locked=False, locked_reason=None)
        _record_done(db, request, server, "unlock")
    notified.locked(request.context, changed, "unlock", request.conf.host)


@action("os-resetState", policy=policies.RESET_STATE, body=schemas.RESET_STATE)
def reset_state(request: Request, server: Instance) -> None:
    """Not while it is migrated: a migration ends by itself, and what it does next must not be guessed here."""
    vm_state = {"active": VmState.ACTIVE, "error": VmState.ERROR}[request.body["state"]]
    with session.writer() as db:
        running = migrations.in_progress(db, server.uuid)
        if running is not None:
            raise ServerIsMigrating(server=server.uuid, migration=running.id)
        instances.update(db, server.uuid, vm_state=vm_state.value, task_state=None)
        _record_done(db, request, server, "resetState")


@action("os-getConsoleOutput", policy=policies.CONSOLE_OUTPUT, status=200, body=schemas.CONSOLE_OUTPUT)
def console_output(request: Request, server: Instance) -> dict[str, str]:
    """The last lines of the console; all that is kept when no length is given."""
    if server.host is None or server.vm_state == VmState.BUILDING.value:
        raise invalid_state("get_console_output", server, "vm_state")
    lines = int((request.body or {}).get("length") or -1) if (request.body or {}).get("length") != 0 else 0
    wanted = _CONSOLE_MOST_BYTES if lines < 0 else min(_CONSOLE_MOST_BYTES, lines * _CONSOLE_BYTES_PER_LINE)
    try:
        output = request.conductor.get_console_output(request.context, server.uuid, wanted) if wanted else ""
    except BROKER_ERRORS as error:
        raise errors.ConductorUnavailable(action="read the console") from error
    return {"output": output if lines < 0 else "\n".join(output.split("\n")[-lines:]) if lines else ""}


def _record_done(db: Any, request: Request, server: Instance, name: str) -> None:
    record(db, request, server, name)
    actions.finish(db, server.uuid, request.context.request_id)
