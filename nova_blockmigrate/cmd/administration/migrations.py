"""migration list, show, prioritize: what is kept of migrations beyond what Nova's API has keys for, and their order."""

from __future__ import annotations

import argparse
import json
from typing import Any

from oslo_config import cfg

from nova_blockmigrate import exceptions
from nova_blockmigrate.cmd.administration import output
from nova_blockmigrate.db import models, session
from nova_blockmigrate.db.queries import migration_lists, migrations
from nova_blockmigrate.objects import MigrationStatus

_LISTED = ("id", "server", "status", "step", "source", "destination", "priority", "created_at")
_PAGE = 100


def add_commands(subparsers: Any) -> None:
    verbs = subparsers.add_parser("migration", help="migrations").add_subparsers(metavar="VERB", required=True)
    listing = verbs.add_parser("list", help=f"the newest {_PAGE} migrations")
    output.add_json_option(listing)
    listing.set_defaults(run=_list)
    show = verbs.add_parser("show", help="all that is kept of one: report of the checks, bytes, seconds of each step, reason")
    show.add_argument("id", type=int)
    output.add_json_option(show)
    show.set_defaults(run=_show)
    prioritize = verbs.add_parser("prioritize", help="have a queued migration go before others, or after them")
    prioritize.add_argument("id", type=int)
    prioritize.add_argument("priority", type=int, help="the higher, the sooner; 0 is what all have that were given none")
    prioritize.set_defaults(run=_prioritize)


def _list(conf: cfg.ConfigOpts, arguments: argparse.Namespace) -> None:
    session.configure(conf)
    with session.reader() as db:
        found = migration_lists.search(db, migration_lists.Filters(), limit=_PAGE)
    output.show([_summary(migration) for migration in found], _LISTED, arguments.json)


def _show(conf: cfg.ConfigOpts, arguments: argparse.Namespace) -> None:
    """
    :raises MigrationNotFound:
    """
    session.configure(conf)
    with session.reader() as db:
        migration = migrations.get(db, arguments.id)
    if arguments.json:
        print(json.dumps(_figures(migration), indent=1))
        return
    for name, value in _figures(migration).items():
        if name == "report":
            for finding in value:
                print(f"  {finding['result']:<8} {finding['title']}: {finding['found']}")
        else:
            print(f"{name}: {value}")


def _prioritize(conf: cfg.ConfigOpts, arguments: argparse.Namespace) -> None:
    """
    :raises MigrationNotFound:
    :raises Conflict: it is in the queue no more.
    """
    session.configure(conf)
    with session.writer() as db:
        migration = migrations.get(db, arguments.id)
        if migration.status not in (MigrationStatus.ACCEPTED, MigrationStatus.QUEUED):
            raise exceptions.Conflict(f"Migration {migration.id} is {migration.status}: only one that waits can change its place.")
        migrations.update(db, migration.id, priority=arguments.priority)


def _summary(migration: models.Migration) -> dict[str, Any]:
    return {
        "id": migration.id,
        "server": migration.instance_uuid,
        "status": migration.status,
        "step": migration.step,
        "source": migration.source_compute,
        "destination": migration.dest_compute,
        "priority": migration.priority,
        "created_at": migration.created_at.isoformat(),
    }


def _figures(migration: models.Migration) -> dict[str, Any]:
    outcome = migration.outcome or {}
    return {
        **_summary(migration),
        "uuid": migration.uuid,
        "request_id": migration.request_id,
        "reason": migration.reason,
        "attempts": migration.attempts or {},
        "memory_total": migration.memory_total,
        "memory_processed": migration.memory_processed,
        "memory_remaining": migration.memory_remaining,
        "disk_total": migration.disk_total,
        "disk_processed": migration.disk_processed,
        "disk_remaining": migration.disk_remaining,
        "paused_ms": outcome.get("paused_ms"),
        "marks_s": outcome.get("marks_s", {}),
        "timeline": migration.timeline,
        "report": migration.report or [],
    }
