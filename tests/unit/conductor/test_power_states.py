"""What a server is when its guest is found in another state than the database has it."""

from __future__ import annotations

import pytest

from nova_blockmigrate.conductor.power_states import shown_state
from nova_blockmigrate.objects import PowerState, VmState


@pytest.mark.parametrize(
    ("was", "found", "shown"),
    [
        (VmState.ACTIVE, PowerState.SHUTDOWN, VmState.STOPPED),
        (VmState.ACTIVE, PowerState.CRASHED, VmState.STOPPED),
        (VmState.ACTIVE, PowerState.PAUSED, VmState.PAUSED),
        (VmState.STOPPED, PowerState.RUNNING, VmState.ACTIVE),
        (VmState.PAUSED, PowerState.RUNNING, VmState.ACTIVE),
        (VmState.SUSPENDED, PowerState.SHUTDOWN, VmState.SUSPENDED),
        (VmState.SUSPENDED, PowerState.RUNNING, VmState.ACTIVE),
        (VmState.ERROR, PowerState.RUNNING, VmState.ERROR),
        (VmState.BUILDING, PowerState.SHUTDOWN, VmState.BUILDING),
        (VmState.ACTIVE, PowerState.SUSPENDED, VmState.ACTIVE),
        (VmState.ACTIVE, PowerState.NOSTATE, VmState.ACTIVE),
    ],
)
def test_what_a_server_is_follows_its_guest(was: VmState, found: PowerState, shown: VmState) -> None:
    assert shown_state(was, found) is shown
