"""Several APIs on one database that are asked for contrary things at the same instant: one of them wins, and the rows agree."""

from __future__ import annotations

import collections
import threading
from typing import Any

from nova_blockmigrate.db import models, session
from nova_blockmigrate.db.queries import instances, migrations
from tests.unit.api.conftest import Api, make_migration, stored, task

MIGRATE = {"os-migrateLive": {"host": "compute2", "block_migration": True}}


def at_once(*requests: tuple[Any, ...]) -> list[int]:
    """Status of each request; all are made by threads that wait for each other first."""
    barrier, statuses = threading.Barrier(len(requests)), [0] * len(requests)

    def ask(number: int, function: Any, *arguments: Any) -> None:
        barrier.wait()
        statuses[number] = function(*arguments).status_code

    threads = [threading.Thread(target=ask, args=(number, *request)) for number, request in enumerate(requests)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return statuses


def test_of_many_that_migrate_a_server_at_once_one_is_accepted(api: Api, server: models.Instance) -> None:
    statuses = at_once(*[(api.act, server, MIGRATE)] * 5)
    assert collections.Counter(statuses) == {202: 1, 409: 4}
    with session.reader() as db:
        assert len(migrations.unfinished(db)) == 1
    assert len([call for call in api.conductor.calls if call[0] == "live_migrate"]) == 1


def test_a_server_is_moved_or_stopped_and_never_both(api: Api, server: models.Instance) -> None:
    statuses = at_once(*[(api.act, server, MIGRATE)] * 2, *[(api.act, server, {"os-stop": None})] * 2)
    assert collections.Counter(statuses) == {202: 1, 409: 3}
    with session.reader() as db:
        moved = len(migrations.unfinished(db)) == 1
    assert stored(server).task_state == ("migrating" if moved else "powering-off")
    assert (task(server) is None) is moved


def test_a_server_that_is_deleted_twice_at_once_has_one_task(api: Api, server: models.Instance) -> None:
    statuses = at_once(*[(api.request, "DELETE", f"/servers/{server.uuid}")] * 3)
    assert set(statuses) == {204}
    assert stored(server).task_state == "deleting"
    found = task(server)
    assert found is not None and found[0] == "delete"


def test_a_deletion_and_a_migration_at_once_leave_one_of_them(api: Api, server: models.Instance) -> None:
    deleted, moved = at_once((api.request, "DELETE", f"/servers/{server.uuid}"), (api.act, server, MIGRATE))
    with session.reader() as db:
        under_way = len(migrations.unfinished(db))
    assert (deleted, moved, under_way) in ((204, 409, 0), (409, 202, 1))


def test_an_abort_and_a_completion_at_once_are_both_wishes(api: Api, server: models.Instance) -> None:
    with session.writer() as db:
        instances.update(db, server.uuid, task_state="migrating")
    migration = make_migration(server, "running")
    path = f"/servers/{server.uuid}/migrations/{migration.id}"
    statuses = at_once(
        *[(api.request, "DELETE", path)] * 2, *[(api.request, "POST", f"{path}/action", {"force_complete": None})] * 2
    )
    assert set(statuses) == {202}
    assert sorted({call[0] for call in api.conductor.calls}) == ["abort_migration", "force_complete"]
