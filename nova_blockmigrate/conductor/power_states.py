"""Servers that stop, start or pause without being told: their guests do so, or somebody at the host."""

from __future__ import annotations

import datetime

from oslo_log import log
from sqlalchemy import orm

from nova_blockmigrate.db.queries import instances
from nova_blockmigrate.objects import PowerState, VmState

LOG = log.getLogger(__name__)

SETTLED_S = 5.0
"""A row that was changed a moment ago may know more than the report that is on its way."""
_SHOWN = {
    PowerState.RUNNING: VmState.ACTIVE,
    PowerState.PAUSED: VmState.PAUSED,
    PowerState.SHUTDOWN: VmState.STOPPED,
    PowerState.CRASHED: VmState.STOPPED,
}


def shown_state(vm_state: VmState, power_state: PowerState) -> VmState:
    """What a server is when its guest is found in `power_state` (pure)."""
    if vm_state not in _SHOWN.values() and vm_state is not VmState.SUSPENDED:
        return vm_state  # building, in error, deleted: that is not the guest's business
    if vm_state is VmState.SUSPENDED and power_state is PowerState.SHUTDOWN:
        return vm_state  # its memory is on the disk
    return _SHOWN.get(power_state, vm_state)


def take_in(db: orm.Session, host: str, found: dict[str, PowerState], now: datetime.datetime) -> None:
    """Make the rows of a host's servers say what their guests do. Those with a task are left to the task."""
    settled = now - datetime.timedelta(seconds=SETTLED_S)
    for instance in instances.states_on(db, host):
        power_state = found.get(instance.uuid)
        changed_at = instance.updated_at or instance.created_at
        if power_state is None or instance.task_state is not None or changed_at > settled:
            continue
        vm_state = shown_state(VmState(instance.vm_state), power_state)
        if (vm_state, power_state) == (instance.vm_state, instance.power_state):
            continue
        LOG.info("[server %s] was %s, is %s on %s", instance.uuid, instance.vm_state, vm_state, host)
        instances.update(db, instance.uuid, vm_state=vm_state.value, power_state=int(power_state))
