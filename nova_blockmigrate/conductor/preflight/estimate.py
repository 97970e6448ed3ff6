"""How long a migration would take and how long the guest would pause (pure), and how sure that is.

Three things are moved: what is allocated of the disks, the memory that the guest has touched, and the base image where it is
missing. Meanwhile the guest goes on writing, and what it writes again must be sent again.
"""

from __future__ import annotations

import dataclasses
import enum

from nova_blockmigrate.objects import GuestLoad

MIB = 1024**2
ASSUMED_RATE = 110 * MIB
"""What a network of 1 Gbit/s carries."""
ASSUMED_PAUSE_MS = 150.0
"""What a handover takes beside sending the rest: fence, flush, resume."""
_CONVERGING = 0.9
"""A guest that writes more than this share of the rate may never be caught up with."""


class Sureness(enum.StrEnum):
    """Where the rate comes from."""

    MEASURED_HERE = "measured between these hosts"
    MEASURED = "measured between other hosts"
    CONFIGURED = "the configured limit"
    ASSUMED = "assumed"


_SPREAD = {
    Sureness.MEASURED_HERE: (0.7, 1.5),
    Sureness.MEASURED: (0.5, 2.0),
    Sureness.CONFIGURED: (0.5, 3.0),
    Sureness.ASSUMED: (0.2, 5.0),
}
"""How far off the time may be: (least, most), as factors."""


@dataclasses.dataclass(frozen=True)
class History:
    """Completed migrations, as far as they tell of the next one."""

    rate_bytes_s: float | None = None
    between_these_hosts: bool = False
    migrations: int = 0
    paused_ms: float | None = None


@dataclasses.dataclass(frozen=True)
class Guest:
    """What the estimate needs to know of the guest."""

    memory_bytes: int
    allocated_bytes: int
    base_bytes: int
    disks: int = 1


@dataclasses.dataclass(frozen=True)
class Estimate:
    """The answer. Ranges are (least, most)."""

    disk_bytes: int
    memory_bytes: int
    base_bytes: int | None
    """Of base images that are missing on the destination; None: not known, and counted only in the longest time."""
    rate_bytes_s: int
    rate_from: str
    dirty_bytes_s: int | None
    disk_written_bytes_s: int | None
    converges: bool
    """Whether the guest writes slowly enough to be caught up with."""
    seconds: float | None
    """None: it may never end by itself."""
    seconds_range: tuple[float, float | None]
    pause_ms: float
    pause_range_ms: tuple[float, float]
    sure: str
    """"measured": rate and load were; "partly measured", or "assumed"."""
    notes: tuple[str, ...] = ()

    @property
    def total_bytes(self) -> int:
        return self.disk_bytes + self.memory_bytes + (self.base_bytes or 0)


def estimate(
    guest: Guest, load: GuestLoad, missing_base_bytes: int | None, history: History, bandwidth_mib: int, downtime_ms: int
) -> Estimate:
    """What a migration is likely to take; `bandwidth_mib` and `downtime_ms` are the options', 0 for no limit."""
    rate, rate_from = _rate(history, bandwidth_mib, guest.disks)
    memory = guest.memory_bytes if load.memory_used_bytes is None else min(load.memory_used_bytes, guest.memory_bytes)
    written = (load.dirty_bytes_s or 0) + (load.disk_written_bytes_s or 0)
    converges = written < _CONVERGING * rate
    total = guest.allocated_bytes + memory + (missing_base_bytes or 0)
    least, most = _SPREAD[rate_from]
    longest = total + (guest.base_bytes if missing_base_bytes is None else 0)
    seconds = _seconds(total, rate, written)
    pause, pause_range = _pause(memory, rate, load, history, downtime_ms)
    return Estimate(
        disk_bytes=guest.allocated_bytes,
        memory_bytes=memory,
        base_bytes=missing_base_bytes,
        rate_bytes_s=int(rate),
        rate_from=rate_from.value,
        dirty_bytes_s=load.dirty_bytes_s,
        disk_written_bytes_s=load.disk_written_bytes_s,
        converges=converges,
        seconds=seconds,
        seconds_range=(
            round(least * total / rate, 1),
            None if seconds is None else round(most * (longest / total or 1) * seconds, 1),
        ),
        pause_ms=round(pause, 1),
        pause_range_ms=(round(pause_range[0], 1), round(pause_range[1], 1)),
        sure=_sure(load, rate_from),
        notes=_notes(load, rate_from, history, converges, missing_base_bytes),
    )


def _rate(history: History, bandwidth_mib: int, disks: int) -> tuple[float, Sureness]:
    """The measured rate; else the limit, which libvirt applies to the memory and to each disk by itself."""
    limit = bandwidth_mib * MIB * (1 + disks)
    if history.rate_bytes_s:
        rate = min(history.rate_bytes_s, limit) if limit else history.rate_bytes_s
        return rate, Sureness.MEASURED_HERE if history.between_these_hosts else Sureness.MEASURED
    if limit:
        return float(limit), Sureness.CONFIGURED
    return float(ASSUMED_RATE), Sureness.ASSUMED


def _seconds(total: int, rate: float, written: float) -> float | None:
    """What is written meanwhile takes its share of the rate."""
    if written >= _CONVERGING * rate:
        return None
    return round(total / (rate - written), 1)


def _pause(memory: int, rate: float, load: GuestLoad, history: History, downtime_ms: int) -> tuple[float, tuple[float, float]]:
    """Passes over the memory shrink by the share that is written again, until what is left goes within the limit."""
    share = min(_CONVERGING, (load.dirty_bytes_s or 0) / rate)
    left_ms = 1000 * memory / rate * (share if memory else 0)
    while share and left_ms > downtime_ms:
        left_ms *= share
    expected = ASSUMED_PAUSE_MS + left_ms if history.paused_ms is None else max(history.paused_ms, left_ms)
    return expected, (min(expected, ASSUMED_PAUSE_MS / 3 + left_ms), max(expected, float(downtime_ms)) + ASSUMED_PAUSE_MS)


def _sure(load: GuestLoad, rate_from: Sureness) -> str:
    rate_measured = rate_from in (Sureness.MEASURED_HERE, Sureness.MEASURED)
    load_measured = load.dirty_bytes_s is not None and load.disk_written_bytes_s is not None
    if rate_measured and load_measured:
        return "measured"
    return "partly measured" if rate_measured or load_measured else "assumed"


def _notes(
    load: GuestLoad, rate_from: Sureness, history: History, converges: bool, missing_base_bytes: int | None
) -> tuple[str, ...]:
    notes = []
    if rate_from is Sureness.ASSUMED:
        notes.append("no migration has completed yet: the rate is a guess (1 Gbit/s)")
    elif rate_from is not Sureness.CONFIGURED:
        notes.append(f"the rate is the mean of the last {history.migrations} completed migrations")
    if load.reason:
        notes.append(f"what the guest writes was not measured in full: {load.reason}")
    if not converges:
        notes.append("the guest writes nearly as fast as the network carries: the transfer may not end by itself")
    if missing_base_bytes is None:
        notes.append("not known whether the destination has the base image: the longest time includes it")
    return tuple(notes)
