"""How many migrations may run at a time on a host, and whose turn it is."""

from __future__ import annotations

import collections
import dataclasses
import datetime
from collections.abc import Collection, Iterable
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy import orm

from nova_blockmigrate.db.models import ComputeNode, Migration, utcnow
from nova_blockmigrate.objects import IN_PROGRESS_STATUSES, MigrationStatus

LONG_S = 60.0
"""From its request on: as long as this a migration lets others pass."""
_UNFINISHED = Migration.status.in_(sorted(status.value for status in IN_PROGRESS_STATUSES))


class Route(NamedTuple):
    """From which host to which."""

    source: str
    destination: str


def turns(
    running: Iterable[Route],
    waiting: Iterable[tuple[int, Route]],
    limit_per_host: int,
    have_waited_long: Collection[int] = (),
) -> list[int]:
    """Which of those that wait, in the order of their turns, find a free slot at both their hosts (pure).

    Those behind one that waits for a busy host pass it, so that no host idles. It could be passed for ever, when its hosts are
    never free at the same time: so once it has waited long, and is the first that waits at both, the free one is kept for it.
    """
    leaving: collections.Counter[str] = collections.Counter(route.source for route in running)
    arriving: collections.Counter[str] = collections.Counter(route.destination for route in running)
    awaited_sources: set[str] = set()
    awaited_destinations: set[str] = set()
    found = []
    for id, route in waiting:
        starts = leaving[route.source] < limit_per_host and arriving[route.destination] < limit_per_host
        is_first = route.source not in awaited_sources and route.destination not in awaited_destinations
        if starts or (id in have_waited_long and is_first):
            leaving[route.source] += 1
            arriving[route.destination] += 1
        if starts:
            found.append(id)
        else:
            awaited_sources.add(route.source)
            awaited_destinations.add(route.destination)
    return found


@dataclasses.dataclass(frozen=True)
class _Queue:
    running: list[Route]
    waiting: list[tuple[int, Route]]
    """Longest first, or by priority."""
    have_waited_long: frozenset[int]
    holding: frozenset[int]
    all: frozenset[int]

    def turns(self, limit_per_host: int) -> list[int]:
        return turns(self.running, self.waiting, limit_per_host, self.have_waited_long)


@dataclasses.dataclass(frozen=True)
class Claimed:
    """What became of migrations that wait."""

    started: frozenset[int]
    """They have their slots."""
    out: frozenset[int]
    """They wait no longer: called off, or not to be found in the queue."""


def claim(
    db: orm.Session, ids: Collection[int], owner: str | None, limit_per_host: int, now: datetime.datetime | None = None
) -> Claimed:
    """Give slots at both hosts to those of `ids` (run by `owner`) whose turn has come.

    Locks the rows of their hosts in the order of the names: conductors that claim for the same host do so one after the other,
    and never wait for each other in a circle. As many statements for one as for a thousand.
    """
    wanted = frozenset(ids)
    long_ago = (now or utcnow()) - datetime.timedelta(seconds=LONG_S)
    before = _read(db, long_ago)
    candidates = wanted.intersection(before.turns(limit_per_host))
    started = wanted & before.holding
    if candidates:
        hosts = {host for id, route in before.waiting if id in candidates for host in route}
        db.execute(sa.select(ComputeNode.id).where(ComputeNode.host.in_(hosts)).order_by(ComputeNode.host).with_for_update())
        ours = candidates.intersection(_read(db, long_ago).turns(limit_per_host))
        mine = sa.and_(Migration.id.in_(sorted(ours)), Migration.owner == owner)
        if ours:
            db.execute(sa.update(Migration).where(mine).values(holds_slot=True).execution_options(synchronize_session=False))
            started |= ours
    return Claimed(started, wanted - before.all)


def _read(db: orm.Session, long_ago: datetime.datetime) -> _Queue:
    """Those that run and those that wait for it, in one statement."""
    waits = sa.and_(
        Migration.status == MigrationStatus.QUEUED.value,
        Migration.rolling_back.is_(False),
        Migration.abort_requested.is_(False),
    )
    columns: list[Any] = [
        Migration.id, Migration.source_compute, Migration.dest_compute, Migration.holds_slot, Migration.created_at
    ]  # fmt: skip
    wanted = (_UNFINISHED, Migration.dest_compute.is_not(None), sa.or_(Migration.holds_slot.is_(True), waits))
    in_order = sa.select(*columns).where(*wanted).order_by(Migration.priority.desc(), Migration.id)
    rows = [(id, Route(source, destination), holds, since) for id, source, destination, holds, since in db.execute(in_order)]
    return _Queue(
        running=[route for _, route, holds, _ in rows if holds],
        waiting=[(id, route) for id, route, holds, _ in rows if not holds],
        have_waited_long=frozenset(id for id, _, holds, since in rows if not holds and since <= long_ago),
        holding=frozenset(id for id, _, holds, _ in rows if holds),
        all=frozenset(id for id, *_ in rows),
    )
