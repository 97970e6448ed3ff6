"""How many migrations may run at a time on a host, and whose turn it is."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Collection, Iterable
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy import orm

from nova_blockmigrate.db.models import ComputeNode, Migration
from nova_blockmigrate.objects import IN_PROGRESS_STATUSES, MigrationStatus

_UNFINISHED = Migration.status.in_(sorted(status.value for status in IN_PROGRESS_STATUSES))


class Route(NamedTuple):
    """From which host to which."""

    source: str
    destination: str


def turns(running: Iterable[Route], waiting: Iterable[tuple[int, Route]], limit_per_host: int) -> list[int]:
    """Which of those that wait, in the order of their turns, find a free slot at both their hosts (pure)."""
    leaving: collections.Counter[str] = collections.Counter(route.source for route in running)
    arriving: collections.Counter[str] = collections.Counter(route.destination for route in running)
    found = []
    for id, route in waiting:
        if leaving[route.source] < limit_per_host and arriving[route.destination] < limit_per_host:
            leaving[route.source] += 1
            arriving[route.destination] += 1
            found.append(id)
    return found


@dataclasses.dataclass(frozen=True)
class _Queue:
    running: list[Route]
    waiting: list[tuple[int, Route]]
    """Longest first, or by priority."""
    holding: frozenset[int]
    all: frozenset[int]


@dataclasses.dataclass(frozen=True)
class Claimed:
    """What became of migrations that wait."""

    started: frozenset[int]
    """They have their slots."""
    out: frozenset[int]
    """They wait no longer: called off, or not to be found in the queue."""


def claim(db: orm.Session, ids: Collection[int], owner: str | None, limit_per_host: int) -> Claimed:
    """Give slots at both hosts to those of `ids` (run by `owner`) whose turn has come.

    Locks the rows of their hosts in the order of the names: conductors that claim for the same host do so one after the other,
    and never wait for each other in a circle. As many statements for one as for a thousand.
    """
    wanted = frozenset(ids)
    before = _read(db)
    candidates = wanted.intersection(turns(before.running, before.waiting, limit_per_host))
    started = wanted & before.holding
    if candidates:
        hosts = {host for id, route in before.waiting if id in candidates for host in route}
        db.execute(sa.select(ComputeNode.id).where(ComputeNode.host.in_(hosts)).order_by(ComputeNode.host).with_for_update())
        now = _read(db)
        ours = candidates.intersection(turns(now.running, now.waiting, limit_per_host))
        mine = sa.and_(Migration.id.in_(sorted(ours)), Migration.owner == owner)
        if ours:
            db.execute(sa.update(Migration).where(mine).values(holds_slot=True).execution_options(synchronize_session=False))
            started |= ours
    return Claimed(started, wanted - before.all)


def _read(db: orm.Session) -> _Queue:
    """Those that run and those that wait for it, in one statement."""
    waits = sa.and_(
        Migration.status == MigrationStatus.QUEUED.value,
        Migration.rolling_back.is_(False),
        Migration.abort_requested.is_(False),
    )
    columns: list[Any] = [Migration.id, Migration.source_compute, Migration.dest_compute, Migration.holds_slot]
    wanted = (_UNFINISHED, Migration.dest_compute.is_not(None), sa.or_(Migration.holds_slot.is_(True), waits))
    in_order = sa.select(*columns).where(*wanted).order_by(Migration.priority.desc(), Migration.id)
    rows = [(id, Route(source, destination), holds) for id, source, destination, holds in db.execute(in_order)]
    return _Queue(
        running=[route for _, route, holds in rows if holds],
        waiting=[(id, route) for id, route, holds in rows if not holds],
        holding=frozenset(id for id, _, holds in rows if holds),
        all=frozenset(id for id, _, _ in rows),
    )
