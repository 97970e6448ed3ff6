"""Several conductors and APIs on one database, each a process of its own, that want the same at the same time."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
from typing import Any

import pytest
import racer
from oslo_config import cfg

from nova_blockmigrate.db import session
from nova_blockmigrate.db.queries import instances, migrations

pytestmark = pytest.mark.usefixtures("database")


def race(conf: cfg.ConfigOpts, what: str, racers: int = 3) -> list[Any]:
    """What each of some processes came to."""
    program = pathlib.Path(racer.__file__)
    command = [sys.executable, "-W", "ignore", str(program), conf.state_path, conf.database.connection, what]
    pipes: dict[str, Any] = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=dict(os.environ))
    running = [subprocess.Popen([*command, str(number)], **pipes) for number in range(racers)]
    try:
        for process in running:
            assert process.stdout.readline() == "ready\n"  # type: ignore[union-attr]
        for process in running:
            process.stdin.write("\n")  # type: ignore[union-attr]
            process.stdin.flush()  # type: ignore[union-attr]
        answers = [process.stdout.readline() for process in running]  # type: ignore[union-attr]
        assert [process.wait(60) for process in running] == [0] * racers
    finally:
        for process in running:
            process.kill()
            process.communicate()
    return [json.loads(answer) for answer in answers]


def new_migrations(status: str) -> None:
    values = dict(instance_uuid="i", source_compute="a", source_node="a", dest_compute="b", user_id="u", project_id="p")
    with session.writer() as db:
        for id in range(1, racer.ROUNDS + 1):
            migrations.create(db, id=id, status=status, request_id="r", **values)


def new_server(uuid: str) -> None:
    values = dict(project_id="p", user_id="u", display_name="vm", hostname="vm", vm_state="active", host="a", node="a")
    with session.writer() as db:
        instances.create(db, uuid=uuid, memory_mib=64, vcpus=1, root_gib=1, reservation_id="r-1", **values)


def test_each_migration_gets_one_conductor(conf: cfg.ConfigOpts) -> None:
    new_migrations("accepted")
    got = race(conf, "lease")
    assert sorted(id for ids in got for id in ids) == list(range(1, racer.ROUNDS + 1))


def test_slots_are_never_held_by_more_than_their_number(conf: cfg.ConfigOpts) -> None:
    from test_queries import new_host

    for host in ("a", "b"):
        new_host(host)
    new_migrations("queued")
    assert {holding for seen in race(conf, "slots") for holding in seen} == {1}
    with session.reader() as db:
        assert migrations.unfinished(db) == []


def test_transactions_that_cross_are_done_again_until_all_are_done(conf: cfg.ConfigOpts) -> None:
    for uuid in ("first", "second"):
        new_server(uuid)
    begun = race(conf, "crossing", racers=2)
    with session.reader() as db:
        counted = [instances.get(db, uuid).progress for uuid in ("first", "second")]
    if session.engine().dialect.name == "sqlite":
        assert counted == [2 * racer.ROUNDS] * 2  # a writer there has the database for itself
        assert begun == [racer.ROUNDS] * 2
    else:
        assert sum(begun) > 2 * racer.ROUNDS, "they never crossed"
        assert all(racer.ROUNDS <= each <= 2 * racer.ROUNDS for each in counted)


def test_conductors_that_hear_of_a_host_at_the_same_time_know_it_once(conf: cfg.ConfigOpts) -> None:
    from nova_blockmigrate.db.models import Service

    race(conf, "reporting")
    with session.reader() as db:
        assert sorted(row.host for row in db.query(Service)) == sorted(f"host-{number}" for number in range(racer.ROUNDS))
