"""The estimate of a dry run, as a table: bytes, seconds, pause, and how sure."""

from __future__ import annotations

import dataclasses

import pytest

from nova_blockmigrate.conductor.preflight.estimate import ASSUMED_PAUSE_MS, ASSUMED_RATE, Estimate, Guest, History, estimate
from nova_blockmigrate.objects import GuestLoad

MIB = 1024**2
GUEST = Guest(memory_bytes=1024 * MIB, allocated_bytes=2048 * MIB, base_bytes=512 * MIB, disks=1)
IDLE = GuestLoad(1.0, memory_used_bytes=256 * MIB, dirty_bytes_s=0, disk_written_bytes_s=0)
MEASURED = History(rate_bytes_s=100 * MIB, between_these_hosts=True, migrations=3, paused_ms=80.0)


def made(load: GuestLoad = IDLE, history: History = MEASURED, missing: int | None = 0, bandwidth: int = 0) -> Estimate:
    return estimate(GUEST, load, missing, history, bandwidth, downtime_ms=500)


def writing(dirty_mib: int, disk_mib: int = 0) -> GuestLoad:
    return dataclasses.replace(IDLE, dirty_bytes_s=dirty_mib * MIB, disk_written_bytes_s=disk_mib * MIB)


def test_moved_are_the_allocated_disk_the_used_memory_and_the_missing_base() -> None:
    found = made(missing=512 * MIB)
    assert (found.disk_bytes, found.memory_bytes, found.base_bytes) == (2048 * MIB, 256 * MIB, 512 * MIB)
    assert found.total_bytes == 2816 * MIB


def test_memory_counts_whole_when_its_use_is_not_known() -> None:
    assert made(GuestLoad(0)).memory_bytes == 1024 * MIB


@pytest.mark.parametrize(
    "load, history, bandwidth, rate_mib, rate_from, seconds",
    [
        (IDLE, MEASURED, 0, 100, "measured between these hosts", 23.0),
        (IDLE, dataclasses.replace(MEASURED, between_these_hosts=False), 0, 100, "measured between other hosts", 23.0),
        (IDLE, MEASURED, 25, 50, "measured between these hosts", 46.1),
        (IDLE, MEASURED, 1000, 100, "measured between these hosts", 23.0),
        (IDLE, History(), 50, 100, "the configured limit", 23.0),
        (IDLE, History(), 0, ASSUMED_RATE // MIB, "assumed", 20.9),
        (writing(30, 20), MEASURED, 0, 100, "measured between these hosts", 46.1),
        (writing(60, 40), MEASURED, 0, 100, "measured between these hosts", None),
    ],
)
def test_seconds(load: GuestLoad, history: History, bandwidth: int, rate_mib: int, rate_from: str, seconds: float | None) -> None:
    found = made(load, history, bandwidth=bandwidth)
    assert (found.rate_bytes_s // MIB, found.rate_from, found.seconds) == (rate_mib, rate_from, seconds)


def test_a_guest_that_writes_too_fast_is_said_not_to_converge() -> None:
    found = made(writing(95))
    assert not found.converges and found.seconds_range[1] is None
    assert any("may not end" in note for note in found.notes)


@pytest.mark.parametrize(
    "load, history, pause_ms",
    [
        (IDLE, MEASURED, 80.0),
        (IDLE, History(), ASSUMED_PAUSE_MS),
        (writing(10), MEASURED, 256.0),
        (writing(50), MEASURED, 320.0),
    ],
)
def test_pause(load: GuestLoad, history: History, pause_ms: float) -> None:
    found = made(load, history)
    assert found.pause_ms == pytest.approx(pause_ms, rel=0.01)
    assert found.pause_range_ms[0] <= found.pause_ms <= found.pause_range_ms[1]


@pytest.mark.parametrize(
    "load, history, sure",
    [
        (IDLE, MEASURED, "measured"),
        (IDLE, History(), "partly measured"),
        (GuestLoad(0, reason="busy"), MEASURED, "partly measured"),
        (GuestLoad(0, reason="busy"), History(), "assumed"),
    ],
)
def test_how_sure_it_is(load: GuestLoad, history: History, sure: str) -> None:
    assert made(load, history).sure == sure


def test_the_less_is_known_the_wider_the_range() -> None:
    def width(history: History) -> float:
        least, most = made(history=history).seconds_range
        assert most is not None
        return most / least

    assert width(MEASURED) < width(dataclasses.replace(MEASURED, between_these_hosts=False)) < width(History())


def test_an_unknown_base_is_in_the_longest_time_only() -> None:
    known, unknown = made(), made(missing=None)
    assert unknown.seconds == known.seconds and unknown.seconds_range[0] == known.seconds_range[0]
    assert (unknown.seconds_range[1] or 0) > (known.seconds_range[1] or 0)
    assert any("base image" in note for note in unknown.notes)
