"""Servers that are deleted: twice, and while their host is silent, or dead."""

from __future__ import annotations

import itertools
import threading
import types
from collections.abc import Callable
from typing import Any, cast

import oslo_messaging
import pytest
from oslo_config import cfg

from nova_blockmigrate import conf as configuration
from nova_blockmigrate.conductor import hosts
from nova_blockmigrate.conductor.server_ports import ServerPorts
from nova_blockmigrate.conductor.servers import ServerTasks
from nova_blockmigrate.context import service_context
from nova_blockmigrate.db import models, session
from nova_blockmigrate.db.queries import actions, instances, server_tasks, services
from nova_blockmigrate.network.backend import Embedded
from nova_blockmigrate.objects import StepReport, StepState
from tests.unit.conductor.test_firewall import Computes, database  # noqa: F401 - a fixture


class Volumes:
    def release(self, instance: models.Instance) -> None:
        """There are none."""


class Host(Computes):
    """One that answers when it was asked so many times."""

    def __init__(self, silences: int = 0) -> None:
        super().__init__()
        self.silences = silences
        self.deleted: list[str] = []

    def run_server_job(self, _context: Any, host: str, job: str, server: Any, _arguments: Any, _wait_s: float) -> StepReport:
        if self.silences > 0:
            self.silences -= 1
            raise oslo_messaging.MessagingTimeout("silent")
        assert (host, job) == ("compute1", "delete")
        self.deleted.append(server["uuid"])
        return StepReport(StepState.DONE, result=0)


@pytest.fixture
def make_tasks(database: None, monkeypatch: pytest.MonkeyPatch) -> Callable[[Computes], ServerTasks]:  # noqa: F811
    conf = cfg.ConfigOpts()
    configuration.register(conf)
    conf([], default_config_files=[])
    monkeypatch.setattr(hosts, "PAUSE_S", 0.0)
    conf.set_override("host_timeout", 1.0, group="conductor")

    def make(computes: Computes) -> ServerTasks:
        ports = ServerPorts(conf, Embedded(conf))
        return ServerTasks(conf, cast(Any, computes), threading.Event(), cast(Any, Volumes()), ports)

    return make


def make_server(host: str | None = None) -> str:
    with session.writer() as db:
        return instances.create(
            db, project_id="p", user_id="u", display_name="lm", hostname="lm", vm_state="active", memory_mib=64, vcpus=1,
            root_gib=1, reservation_id="r", task_state="deleting", host=host,
        ).uuid  # fmt: skip


def ask_for(server: str, request: str) -> None:
    with session.writer() as db:
        actions.start(db, server, "delete", request, "u", "p")
        server_tasks.put(db, server, "delete", {}, request)


def let_time_fly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Patience with a host ends when it has been silent twice."""
    clock = itertools.count(step=0.6)
    monkeypatch.setattr(hosts, "time", types.SimpleNamespace(monotonic=lambda: next(clock)))


def seen(server: str) -> tuple[bool, str | None]:
    """Whether it is in no list any more, and what is to be done to it still."""
    with session.reader() as db:
        task = server_tasks.find(db, server)
        return instances.get(db, server, include_deleted=True).deleted_at is not None, task and task.action


def test_a_server_may_be_deleted_twice(make_tasks: Callable[[Computes], ServerTasks]) -> None:
    tasks, server, done = make_tasks(Computes()), make_server(), []
    for request in ("req-1", "req-2"):
        ask_for(server, request)
    for request in ("req-1", "req-2"):
        tasks.do(service_context(request), server, "delete", {})
        with session.reader() as db:
            task = server_tasks.find(db, server)
            done.append((task.request_id if task else None, actions.get(db, server, request).finish_time is not None))
    assert done == [("req-2", True), (None, True)]


def test_a_server_stays_until_its_silent_host_answers(
    make_tasks: Callable[[Computes], ServerTasks], monkeypatch: pytest.MonkeyPatch
) -> None:
    let_time_fly(monkeypatch)
    host, server = Host(silences=7), make_server("compute1")
    ask_for(server, "req-1")
    make_tasks(host).do(service_context("req-1"), server, "delete", {})
    assert (host.silences, host.deleted, seen(server)) == (0, [server], (True, None))


def test_a_server_on_a_dead_host_goes_and_its_guest_when_that_is_back(
    make_tasks: Callable[[Computes], ServerTasks], monkeypatch: pytest.MonkeyPatch
) -> None:
    let_time_fly(monkeypatch)
    with session.writer() as db:
        services.report(db, "compute1", "nova-compute", models.utcnow()).forced_down = True
    host, server = Host(silences=4), make_server("compute1")
    tasks = make_tasks(host)
    ask_for(server, "req-1")
    tasks.do(service_context("req-1"), server, "delete", {})
    assert (host.deleted, seen(server)) == ([], (True, "clear"))

    with session.reader() as db:
        task = server_tasks.find(db, server)
    assert task is not None
    tasks.do(service_context("req-1"), server, task.action, task.arguments)
    assert (host.deleted, seen(server)) == ([server], (True, None))
