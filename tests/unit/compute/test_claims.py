"""What a host has left for guests that are coming."""

from __future__ import annotations

import dataclasses

import pytest

from nova_blockmigrate import exceptions
from nova_blockmigrate.compute import claims
from nova_blockmigrate.objects import HostResources, MigrationPlan, Server

HOST = HostResources(
    "compute2", "compute2", "QEMU", 7_002_022, 9_000_000, "10.0.0.2", 2, 0, 2048, 512, 10, 0, 10 * 1024**3, 0, "{}"
)


def plan(number: int, memory_mib: int = 256) -> MigrationPlan:
    server = Server(f"server-{number}", f"instance-{number:08x}", "x", memory_mib, 1, 1, None)
    return MigrationPlan(number, f"migration-{number}", server, "compute1", "compute2", True)


@pytest.mark.parametrize(
    ("needed_mib", "reserved_mib", "coming", "fits"),
    [
        (1536, 0, [], True),
        (1537, 0, [], False),
        (1024, 512, [], True),
        (1025, 512, [], False),
        (1024, 0, [plan(2, 512)], True),
        (1025, 0, [plan(2, 512)], False),
    ],
)
def test_memory_is_what_is_free_less_reserve_and_claims(
    needed_mib: int, reserved_mib: int, coming: list[MigrationPlan], fits: bool
) -> None:
    try:
        claims.check_memory(plan(1, needed_mib), HOST, coming, reserved_mib, 1.0)
    except exceptions.NotEnoughMemory as error:
        assert not fits
        assert str(needed_mib) in error.message
    else:
        assert fits


def test_overcommit_is_allowed_when_configured() -> None:
    claims.check_memory(plan(1, 3000), HOST, [], 0, 2.0)


def test_guests_that_the_hypervisor_shows_already_are_not_counted_twice() -> None:
    assert claims.outstanding([plan(1), plan(2), plan(3)], ["server-2"], but="migration-1") == [plan(3)]


def test_disk_must_hold_what_is_allocated_now() -> None:
    from nova_blockmigrate.objects import DiskLayer, GuestDescription, GuestDisk, PowerState

    layer = DiskLayer("/d/disk", "qcow2", 1024**4, 6 * 1024**3)
    disk = GuestDisk("vda", "disk", "file", False, (layer,))
    guest = GuestDescription("u", "d", PowerState.RUNNING, 256, 1, (disk,), True, "<domain/>")

    claims.check_disk(plan(1), guest, HOST, 0, 4 * 1024)
    claims.check_disk(plan(1), guest, HOST, 4 * 1024**3, 0)
    for free_gib, claimed_gib, reserved_mib in ((5, 0, 0), (10, 5, 0), (10, 0, 5 * 1024)):
        with pytest.raises(exceptions.NotEnoughDisk):
            host = dataclasses.replace(HOST, disk_free_bytes=free_gib * 1024**3)
            claims.check_disk(plan(1), guest, host, claimed_gib * 1024**3, reserved_mib)
