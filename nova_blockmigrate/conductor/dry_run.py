"""The checks without a migration: what would be found, for one host or for all of them, and how long it would take.

Changes nothing anywhere. Hosts are asked side by side; one that does not answer in time has its checks "unknown".
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import functools
import uuid as uuids
from collections.abc import Callable
from typing import Any, TypeVar

from oslo_config import cfg

from nova_blockmigrate import exceptions
from nova_blockmigrate.compute.rpcapi import ComputeAPI
from nova_blockmigrate.conductor import checking, scheduler, server_groups
from nova_blockmigrate.conductor.checking import Question
from nova_blockmigrate.conductor.preflight import Facts, evaluate
from nova_blockmigrate.conductor.preflight.estimate import Guest, History, estimate
from nova_blockmigrate.conductor.scheduler import Candidate
from nova_blockmigrate.conductor.settings import candidates, host_facts, server_of
from nova_blockmigrate.conductor.volumes import ServerVolumes
from nova_blockmigrate.context import RequestContext
from nova_blockmigrate.db import models, session
from nova_blockmigrate.db.queries import instances, migration_lists
from nova_blockmigrate.objects import GuestDescription, GuestLoad, MigrationPlan, Server, StepState, from_primitive, to_primitive

T = TypeVar("T")
TIME_S = 35.0
"""After that the report is made of what is there."""
AT_ONCE = 32
"""Hosts that are asked at the same time."""
JOB_WAIT_S = 10.0
WATCH_S = 1
"""How long the guest's writing is measured."""
_HISTORY = 20
"""Completed migrations that the rate is taken from."""


@dataclasses.dataclass(frozen=True)
class _Ways:
    """What every question to a host needs."""

    conf: cfg.ConfigOpts
    computes: ComputeAPI
    volumes: ServerVolumes
    context: RequestContext
    question: Question
    server: Server

    def plan(self, destination: str) -> MigrationPlan:
        return MigrationPlan(
            migration_id=self.question.migration_id,
            migration_uuid=self.question.uuid,
            server=self.server,
            source_host=self.question.source_host,
            destination_host=destination,
            block_migration=True,
            request_id=self.question.request_id,
        )


def preflight(
    conf: cfg.ConfigOpts,
    computes: ComputeAPI,
    volumes: ServerVolumes,
    context: RequestContext,
    server_uuid: str,
    host: str | None,
    block_migration: str,
) -> dict[str, Any]:
    """{"server_uuid", "source", "hosts": [{"host", "acceptable", "rank", "findings", "estimate"}]}, the best host first.

    :raises InstanceInvalidState: the server is on no host.
    """
    with session.reader() as db:
        server = instances.get(db, server_uuid)
        known = candidates(conf, db, models.utcnow(), server_groups.of(db, server))
    if server.host is None:
        raise exceptions.InstanceInvalidState(method="preflight", instance_id=server_uuid, attribute="host", state=None)
    question = Question(
        server_uuid=server_uuid,
        source_host=server.host,
        requested_by=context.user_id or "",
        block_migration=block_migration,
        request_id=context.request_id,
        uuid=str(uuids.uuid4()),
    )
    ways = _Ways(conf, computes, volumes, context, question, server_of(server))
    names = [host] if host else [one.host for one in known if one.host != server.host]
    load, seen = _look(ways, names)
    order = preference(known, server.memory_mib, server.host)
    return {"server_uuid": server_uuid, "source": server.host, "hosts": _ranked(ways, order, names, seen, load)}


def preference(known: list[Candidate], memory_mib: int, source: str) -> list[str]:
    """All hosts but the source: those that would be chosen in their order, then the others by name."""
    chosen = scheduler.rank(known, memory_mib, exclude=frozenset({source}))
    return chosen + sorted(one.host for one in known if one.host not in chosen and one.host != source)


def _look(ways: _Ways, names: list[str]) -> tuple[GuestLoad, dict[str, Facts]]:
    """Ask the source what the guest writes and every host for its facts, all at once."""
    pool = concurrent.futures.ThreadPoolExecutor(min(AT_ONCE, len(names) + 1), "dry-run")
    try:
        watching = pool.submit(_measure_load, ways)
        asked = {name: pool.submit(_gather, ways, name) for name in names}
        everything: list[concurrent.futures.Future[Any]] = [watching, *asked.values()]
        concurrent.futures.wait(everything, timeout=TIME_S)
        load = _outcome(watching, lambda reason: GuestLoad(0, reason=reason))
        return load, {name: _outcome(one, functools.partial(_unheard, ways, name)) for name, one in asked.items()}
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _outcome(future: concurrent.futures.Future[T], instead: Callable[[str], T]) -> T:
    """The result, or what stands for it when there is none."""
    if not future.done():
        return instead(f"no answer within {TIME_S:.0f} s")
    error = future.exception()
    return future.result() if error is None else instead(f"{type(error).__name__}: {error}")


def _gather(ways: _Ways, host: str) -> Facts:
    return checking.gather(ways.conf, ways.computes, ways.volumes, ways.context, ways.question, host)


def _unheard(ways: _Ways, host: str, reason: str) -> Facts:
    """A host of which only the database knows something."""
    now = models.utcnow()
    with session.reader() as db:
        instance = instances.get(db, ways.question.server_uuid)
        source = host_facts(ways.conf, db, ways.question.source_host, now)
        destination = host_facts(ways.conf, db, host, now)
    return Facts(
        server_uuid=instance.uuid,
        vm_state=instance.vm_state,
        memory_mib=instance.memory_mib,
        requested_by=ways.question.requested_by,
        block_migration=ways.question.block_migration,
        source=dataclasses.replace(source, error=reason),
        destination=dataclasses.replace(destination, error=reason),
    )


def _measure_load(ways: _Ways) -> GuestLoad:
    source = ways.question.source_host
    report = ways.computes.run_migration_job(
        ways.context, source, "measure_load", ways.plan(source), {"seconds": WATCH_S}, JOB_WAIT_S
    )
    if report.state is not StepState.DONE:
        return GuestLoad(0, reason=report.error or f"{source} was not done within {JOB_WAIT_S:.0f} s")
    return from_primitive(GuestLoad, report.result)


def _ranked(ways: _Ways, order: list[str], names: list[str], seen: dict[str, Facts], load: GuestLoad) -> list[dict[str, Any]]:
    """Acceptable hosts first, best first."""
    reports = {name: evaluate(seen[name]) for name in names}
    acceptable = [name for name in names if reports[name].error() is None]
    acceptable.sort(key=lambda name: order.index(name) if name in order else len(order))
    others = sorted(name for name in names if name not in acceptable)
    return [
        {
            "host": name,
            "acceptable": name in acceptable,
            "rank": acceptable.index(name) + 1 if name in acceptable else None,
            "findings": reports[name].to_primitive(),
            "estimate": _estimate(ways, seen[name], load),
        }
        for name in [*acceptable, *others]
    ]


def _estimate(ways: _Ways, facts: Facts, load: GuestLoad) -> dict[str, Any] | None:
    if facts.guest is None:
        return None
    options = ways.conf.libvirt
    history = _history(ways.question.source_host, facts.destination.name)
    found = estimate(
        _guest(facts.guest),
        load,
        facts.reception.missing_base_bytes if facts.reception else None,
        history,
        options.live_migration_bandwidth,
        options.live_migration_downtime,
    )
    values: dict[str, Any] = to_primitive(found)
    return values | {"total_bytes": found.total_bytes}


def _guest(guest: GuestDescription) -> Guest:
    copied = [disk for disk in guest.disks if disk.is_copied]
    base_bytes = sum(layer.allocated_bytes for disk in copied for layer in disk.layers[1:])
    return Guest(guest.memory_mib * 1024**2, guest.allocated_bytes, base_bytes, len(copied))


def _history(source: str, destination: str) -> History:
    """Of the newest completed migrations between these hosts, else of any."""
    with session.reader() as db:
        here = migration_lists.completed(db, _HISTORY, source, destination)
        rows = here or migration_lists.completed(db, _HISTORY)
    return history_of(rows, between_these_hosts=bool(here))


def history_of(rows: list[models.Migration], between_these_hosts: bool) -> History:
    """Mean rate (all bytes by all seconds, so that large ones count for more) and mean pause."""
    moved = [(_moved_bytes(row), float(row.timeline.get("transfer") or 0)) for row in rows]
    moved = [(size, seconds) for size, seconds in moved if size > 0 and seconds > 0]
    pauses = [float(row.outcome["paused_ms"]) for row in rows if row.outcome and row.outcome.get("paused_ms")]
    return History(
        rate_bytes_s=sum(size for size, _ in moved) / sum(seconds for _, seconds in moved) if moved else None,
        between_these_hosts=between_these_hosts,
        migrations=len(moved),
        paused_ms=sum(pauses) / len(pauses) if pauses else None,
    )


def _moved_bytes(row: models.Migration) -> int:
    return (row.memory_processed or 0) + (row.disk_processed or 0)
