"""Errors that nobody foresaw: before the transfer they end a migration with a reason, later they do not."""

from __future__ import annotations

import pathlib
import threading
import types
from collections.abc import Iterator
from typing import Any

import oslo_messaging
import pytest
from oslo_config import cfg

from nova_blockmigrate import conf as configuration
from nova_blockmigrate import exceptions
from nova_blockmigrate.conductor import live_migrate, transferring
from nova_blockmigrate.conductor.leased import Surroundings
from nova_blockmigrate.conductor.queue import SlotQueue
from nova_blockmigrate.db import models, schema, session
from nova_blockmigrate.db.queries import actions, instances, migrations
from nova_blockmigrate.objects import StepReport, StepState

OWNER = "conductor-1"


class Computes:
    """Hosts that cannot even take a job in, but for undoing."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.when_asked = lambda: None
        self.error: Exception = oslo_messaging.RemoteError("KeyError", "'vifs'")

    def run_migration_job(self, context: Any, host: str, job: str, *rest: Any) -> StepReport:
        self.asked.append(job)
        self.when_asked()
        if job.startswith("release"):
            return StepReport(StepState.DONE)
        raise self.error


class World:
    def __init__(self, conf: cfg.ConfigOpts) -> None:
        self.computes, self.stopping = Computes(), threading.Event()
        nothing: Any = types.SimpleNamespace(
            give=lambda *_: None, take=lambda *_: None, backend=types.SimpleNamespace(owns_ports=False)
        )
        computes: Any = self.computes
        self._around = Surroundings(
            conf, OWNER, computes, self.stopping, SlotQueue(conf, OWNER), threading.Semaphore(1), nothing, nothing, nothing
        )

    def run(self, step: str, status: str) -> models.Migration:
        """A migration that is at `step` already, run until it is over or this conductor stops."""
        with session.writer() as db:
            server = instances.create(
                db, project_id="p", user_id="u", display_name="vm", hostname="vm", vm_state="active", host="compute1",
                memory_mib=64, vcpus=1, root_gib=1, reservation_id="r-1", task_state="migrating",
            )  # fmt: skip
            actions.start(db, server.uuid, "live-migration", "req-1", "u", "p")
            migration = migrations.create(
                db, instance_uuid=server.uuid, status=status, step=step, source_compute="compute1", source_node="compute1",
                dest_compute="compute2", requested_host="compute2", request_id="req-1", user_id="u", project_id="p", owner=OWNER,
                guest={}, holds_slot=True,
            )  # fmt: skip
        live_migrate.LiveMigrateTask(self._around, migration.id).run()
        with session.reader() as db:
            self.server = instances.get(db, server.uuid)
            return migrations.get(db, migration.id)


@pytest.fixture
def world(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    for module in (live_migrate, transferring):
        monkeypatch.setattr(module, "RETRY_S", 0.0)
    conf = cfg.ConfigOpts()
    configuration.register(conf)
    conf([], default_config_files=[])
    conf.set_override("state_path", str(tmp_path))
    session.register(conf)
    schema.sync(conf)
    yield World(conf)
    session.dispose()


def test_one_before_the_transfer_that_comes_again_sends_the_migration_back(world: World) -> None:
    migration = world.run("prepare_destination", "preparing")

    assert (migration.status, migration.reason) == ("failed", "prepare_destination: KeyError: 'vifs'")
    assert (world.server.host, world.server.task_state) == ("compute1", None)
    assert world.computes.asked == ["prepare_destination"] * live_migrate.MOST_SURPRISES + ["release_destination"]


@pytest.mark.parametrize(("step", "status"), [("transfer", "running"), ("finish_destination", "post-migrating")])
def test_one_after_the_guest_may_have_moved_is_said_and_does_not_end_it(world: World, step: str, status: str) -> None:
    def stop_after_some() -> None:
        if len(world.computes.asked) > 2 * live_migrate.MOST_SURPRISES:
            world.stopping.set()

    world.computes.when_asked = stop_after_some
    migration = world.run(step, status)

    assert migration.status == status and migration.rolling_back is False
    assert "KeyError: 'vifs'" in (migration.reason or "")


def test_a_conductor_whose_lease_a_host_has_seen_superseded_leaves_the_migration_alone(world: World) -> None:
    world.computes.error = exceptions.LeaseSuperseded(migration_uuid="uuid", asked="lease 1", newest="lease 2")
    migration = world.run("prepare_destination", "preparing")

    assert (migration.status, migration.rolling_back, migration.reason) == ("preparing", False, None)
    assert world.computes.asked == ["prepare_destination"]
