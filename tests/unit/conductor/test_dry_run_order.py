"""What a dry run makes of rows and candidates: the order of hosts, and what earlier migrations tell."""

from __future__ import annotations

from typing import Any

from nova_blockmigrate.conductor.dry_run import history_of, preference
from nova_blockmigrate.conductor.scheduler import Candidate
from nova_blockmigrate.db.models import Migration

MIB = 1024**2


def candidate(host: str, free_memory_mib: int = 4096, moving: int = 0, up: bool = True) -> Candidate:
    return Candidate(host, up, False, free_memory_mib, 2**33, moving)


def row(seconds: float, memory_mib: int, disk_mib: int, paused_ms: float | None = None) -> Migration:
    values: dict[str, Any] = {"memory_processed": memory_mib * MIB, "disk_processed": disk_mib * MIB}
    outcome = {} if paused_ms is None else {"paused_ms": paused_ms}
    return Migration(timeline={"transfer": seconds} if seconds else {}, outcome=outcome, **values)


def test_hosts_come_in_the_order_in_which_they_would_be_chosen() -> None:
    known = [candidate("a", moving=1), candidate("b"), candidate("c", up=False), candidate("source"), candidate("d", 8192)]
    assert preference(known, 256, "source") == ["d", "b", "a", "c"]


def test_the_rate_is_that_of_all_bytes_in_all_seconds() -> None:
    history = history_of([row(1, 10, 0, 50), row(9, 90, 900, 150)], between_these_hosts=True)
    assert history.rate_bytes_s == 100 * MIB
    assert (history.migrations, history.paused_ms, history.between_these_hosts) == (2, 100, True)


def test_migrations_without_figures_tell_nothing() -> None:
    history = history_of([row(0, 10, 10), row(5, 0, 0)], between_these_hosts=False)
    assert history.rate_bytes_s is None and history.migrations == 0 and history.paused_ms is None
