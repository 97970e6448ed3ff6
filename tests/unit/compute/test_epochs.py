"""A conductor that was frozen and thaws is refused by hosts that have heard of its successor."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator
from typing import Any

import oslo_messaging
import pytest
from oslo_config import cfg

from nova_blockmigrate import conf as configuration
from nova_blockmigrate import rpc
from nova_blockmigrate.compute import epochs
from nova_blockmigrate.compute.epochs import KEEP_S, Epochs
from nova_blockmigrate.compute.rpcapi import ComputeAPI
from nova_blockmigrate.context import service_context
from nova_blockmigrate.exceptions import LeaseSuperseded
from nova_blockmigrate.objects import MigrationPlan, Server, StepReport, StepState, to_primitive

SERVER = Server("uuid", "instance-1", "lm001", 256, 1, 1, None)
PLAN = MigrationPlan(1, "migration", SERVER, "source", "destination", True)


def test_an_older_lease_is_refused_and_the_newest_and_newer_ones_are_not(tmp_path: pathlib.Path) -> None:
    seen = Epochs(tmp_path / "epochs/a.jsonl")
    for epoch in ((0, 1), (0, 2), (0, 2), (1, 2)):
        seen.admit("migration", epoch)

    for stale in ((0, 1), (0, 2), (0, 9), (1, 1)):
        with pytest.raises(LeaseSuperseded, match="another conductor"):
            seen.admit("migration", stale)
    seen.admit("another", (0, 1))


def test_a_conductor_that_names_no_lease_is_let_through(tmp_path: pathlib.Path) -> None:
    seen = Epochs(tmp_path / "a.jsonl")
    seen.admit("migration", (0, 2))
    seen.admit("migration", None)


def test_it_is_remembered_when_the_service_is_started_again(tmp_path: pathlib.Path) -> None:
    Epochs(tmp_path / "a.jsonl").admit("migration", (0, 2))
    with (tmp_path / "a.jsonl").open("ab") as file:
        file.write(b'["cut off by a cra')
    Epochs(tmp_path / "a.jsonl").admit("migration", (0, 3))

    with pytest.raises(LeaseSuperseded):
        Epochs(tmp_path / "a.jsonl").admit("migration", (0, 2))


def test_a_start_with_nothing_to_forget_leaves_the_file_as_it_is(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "a.jsonl"
    Epochs(path).admit("migration", (0, 2))
    before = path.stat().st_ino, path.read_bytes()

    Epochs(path)

    assert (path.stat().st_ino, path.read_bytes()) == before


def test_what_is_a_day_old_is_forgotten(tmp_path: pathlib.Path) -> None:
    Epochs(tmp_path / "a.jsonl", now=lambda: 0.0).admit("old", (0, 2))
    late = Epochs(tmp_path / "a.jsonl", now=lambda: KEEP_S + 1)

    late.admit("old", (0, 1))
    assert (tmp_path / "a.jsonl").read_bytes().count(b"old") == 1


def test_a_long_list_loses_what_is_old(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(epochs, "MOST", 2)
    time = iter((0.0, 0.0, KEEP_S + 1, KEEP_S + 1, KEEP_S + 1))
    seen = Epochs(tmp_path / "a.jsonl", now=lambda: next(time))
    for uuid in ("first", "second", "third"):
        seen.admit(uuid, (0, 1))

    assert b"first" not in (tmp_path / "a.jsonl").read_bytes() and b"third" in (tmp_path / "a.jsonl").read_bytes()


# --- over RPC -------------------------------------------------------------------------------------------------------------


class OldHost:
    """As of version 1.0."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []

    def run_migration_job(self, context: Any, job: str, plan: Any, arguments: Any, wait_s: float) -> Any:
        self.asked.append({"job": job})
        return to_primitive(StepReport(StepState.DONE, result=7))


class NewHost:
    target = oslo_messaging.Target(version="1.1")

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []

    def run_migration_job(self, context: Any, job: str, plan: Any, arguments: Any, wait_s: float, epoch: Any = None) -> Any:
        self.asked.append({"job": job, "epoch": epoch})
        if epoch == [0, 1]:
            raise LeaseSuperseded(migration_uuid="migration", asked="lease 1", newest="lease 2")
        return to_primitive(StepReport(StepState.DONE, result=7))


@pytest.fixture
def conf(tmp_path: pathlib.Path) -> Iterator[cfg.ConfigOpts]:
    file = tmp_path / "nova-blockmigrate.conf"
    file.write_text("[DEFAULT]\ntransport_url = fake://\n")
    conf = configuration.load(["--config-file", str(file)])
    rpc.cleanup()
    yield conf
    rpc.cleanup()


def ask(conf: cfg.ConfigOpts, host: Any, epoch: tuple[int, int] | None) -> StepReport:
    server = rpc.server(conf, rpc.COMPUTE_TOPIC, "source", host)
    server.start()
    try:
        return ComputeAPI(conf).run_migration_job(service_context(), "source", "transfer", PLAN, {}, 1.0, epoch)
    finally:
        server.stop()
        server.wait()


def test_a_host_that_is_not_upgraded_yet_is_asked_as_before(conf: cfg.ConfigOpts) -> None:
    host = OldHost()
    assert ask(conf, host, (0, 2)).result == 7
    assert host.asked == [{"job": "transfer"}]


@pytest.mark.parametrize(("epoch", "said"), [((0, 2), [0, 2]), (None, None)])
def test_a_host_hears_attempt_and_lease(conf: cfg.ConfigOpts, epoch: tuple[int, int] | None, said: Any) -> None:
    host = NewHost()
    assert ask(conf, host, epoch).result == 7
    assert host.asked == [{"job": "transfer", "epoch": said}]


def test_a_refusal_arrives_as_what_it_is(conf: cfg.ConfigOpts) -> None:
    with pytest.raises(LeaseSuperseded):
        ask(conf, NewHost(), (0, 1))
