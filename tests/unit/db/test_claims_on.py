"""What migrations under way are counted with when another one wants to come to the same host."""

from __future__ import annotations

from typing import Any

import pytest

from nova_blockmigrate.conductor.settings import claims_on, promised_disk_gib
from nova_blockmigrate.db import session
from nova_blockmigrate.db.queries import instances, migrations

pytestmark = pytest.mark.usefixtures("database")


def new_migration(destination: str | None, status: str = "queued", **values: Any) -> str:
    server = dict(project_id="p", user_id="u", display_name="vm", hostname="vm", vm_state="active", host="a", node="a")
    with session.writer() as db:
        instance = instances.create(db, **server, memory_mib=64, vcpus=1, root_gib=1, reservation_id="r-1")
        row = dict(instance_uuid=instance.uuid, source_compute="a", source_node="a", dest_compute=destination, status=status)
        return migrations.create(db, **row, user_id="u", project_id="p", request_id="r", **values).uuid


def claimed(but: str) -> list[tuple[str, int]]:
    with session.reader() as db:
        return [(claim.migration_uuid, claim.memory_mib) for claim in claims_on(db, "b", but=but)]


def test_queued_and_running_migrations_to_the_host_claim_their_memory() -> None:
    queued, running = new_migration("b"), new_migration("b", "running")
    new_migration("c")
    new_migration("b", "completed")
    new_migration("b", "running", rolling_back=True)

    assert claimed(but="none") == [(queued, 64), (running, 64)]


def test_of_two_that_are_checked_at_the_same_time_only_the_younger_counts_the_other() -> None:
    older, younger = (new_migration(None, "accepted", requested_host="b") for _ in range(2))

    assert claimed(but=older) == []
    assert claimed(but=younger) == [(older, 64)]


def test_promised_disk_is_of_guests_that_are_there_and_of_those_on_their_way_once() -> None:
    new_migration("b")
    arrived = new_migration("b", "post-migrating")
    with session.reader() as db:
        claims = claims_on(db, "b", but="none")
    with session.writer() as db:
        instances.update(db, next(claim.server_uuid for claim in claims if claim.migration_uuid == arrived), host="b")

    with session.reader() as db:
        assert promised_disk_gib(db, "b", claims) == 2
        assert promised_disk_gib(db, "b", []) == 1
