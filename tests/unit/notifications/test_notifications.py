"""What is told, compared with the samples in doc/notification_samples, and that nobody has to wait for it.

With NBM_WRITE_SAMPLES set the samples are written instead.
"""

from __future__ import annotations

import json
import os
import pathlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from oslo_config import cfg

from nova_blockmigrate import conf as configuration
from nova_blockmigrate import exceptions
from nova_blockmigrate.conductor import steps
from nova_blockmigrate.context import RequestContext, service_context
from nova_blockmigrate.db import models, schema, session
from nova_blockmigrate.db.queries import actions, instances, migrations
from nova_blockmigrate.db.queries import services as service_rows
from nova_blockmigrate.notifications import payloads, sending, servers, services

SAMPLES = pathlib.Path(__file__).parents[3] / "doc/notification_samples"
SERVER = "178b0921-8f85-4257-88b6-2e743b5a975c"
REQUEST = "req-5b6c791d-5709-4f36-8fbe-c3e02869e35d"
WHEN = models.datetime.datetime(2026, 11, 24, 12, 30)


class Notifier:
    """Stands where oslo.messaging's notifier does."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.error: Exception | None = None

    def prepare(self, publisher_id: str) -> Any:
        return _Prepared(self, publisher_id)


class _Prepared:
    def __init__(self, notifier: Notifier, publisher: str) -> None:
        self.notifier, self.publisher = notifier, publisher

    def __getattr__(self, priority: str) -> Callable[..., None]:
        def send(context: RequestContext, event_type: str, payload: dict[str, Any]) -> None:
            self.notifier.gate.wait(10)
            if self.notifier.error is not None:
                raise self.notifier.error
            message = {"event_type": event_type, "payload": payload, "priority": priority.upper(), "publisher_id": self.publisher}
            self.notifier.sent.append(json.loads(json.dumps(message)))

        return send


@pytest.fixture
def database(tmp_path: pathlib.Path) -> Iterator[None]:
    conf = cfg.ConfigOpts()
    configuration.register(conf)
    conf([], default_config_files=[])
    conf.set_override("state_path", str(tmp_path))
    session.register(conf)
    schema.sync(conf)
    yield
    session.dispose()


@pytest.fixture
def notifier(monkeypatch: pytest.MonkeyPatch) -> Notifier:
    made = Notifier()
    monkeypatch.setattr(sending, "_sender", sending.Sender(made, 100))
    return made


@pytest.fixture
def migration(database: None) -> models.Migration:
    server = dict(uuid=SERVER, project_id="demo", user_id="joe", display_name="lm001", hostname="lm001", vm_state="active")
    places = dict(host="compute1", node="compute1", memory_mib=512, vcpus=1, root_gib=1, reservation_id="r-npxv0e40")
    flavor = {"flavorid": "1", "name": "m1.tiny", "extra_specs": {}}
    times = dict(created_at=WHEN, launched_at=WHEN, updated_at=WHEN)
    with session.writer() as db:
        instances.create(db, **server, **places, **times, flavor=flavor, power_state=1, task_state="migrating", image_id="i")
        actions.start(db, SERVER, "live-migration", REQUEST, "admin", "admin")
        row = dict(instance_uuid=SERVER, source_compute="compute1", source_node="compute1", dest_compute="compute2")
        return migrations.create(db, **row, user_id="admin", project_id="admin", request_id=REQUEST, status="running")


def everything(migration: models.Migration) -> None:
    """Each occasion once."""
    context = RequestContext(user_id="admin", project_id="admin", request_id=REQUEST)
    for step in steps.STEPS:
        servers.step_done(migration, step.name)
    for wish in ("abort", "force_complete"):
        for phase in ("start", "end"):
            servers.wish(context, migration, f"live_migration_{wish}.{phase}")
    servers.rolling_back(migration, True, "nova-compute:compute1", exceptions.StorageError(host="a", action="b", reason="c"))
    servers.rolled_back(migration, "compute2")
    for action in servers.OF_ACTION:
        for phase in ("start", "end"):
            servers.server_action(service_context(REQUEST), SERVER, action, phase)
    for action in ("build", "reboot"):
        servers.server_action(service_context(REQUEST), SERVER, action, "error", exceptions.NoValidHost(reason="none is up"))
    with session.writer() as db:
        service = service_rows.report(db, "compute1", "nova-compute", WHEN)
        service_rows.update(db, service, uuid="fa69c544-906b-4a6a-a9c6-c1f7a8078c73")
        changed = instances.update(db, SERVER, locked=True, locked_reason="maintenance")
    changed.updated_at = WHEN
    servers.locked(context, changed, "lock", "controller")
    with session.writer() as db:
        changed = instances.update(db, SERVER, locked=False, locked_reason=None)
    changed.updated_at = WHEN
    servers.locked(context, changed, "unlock", "controller")
    for event in ("create", "update", "delete"):
        services.changed(context, service, event)
    sending.flush()


def test_what_is_sent_is_what_the_samples_show(notifier: Notifier, migration: models.Migration) -> None:
    everything(migration)
    sent = {message["event_type"].replace(".", "-"): message for message in notifier.sent}
    assert len(sent) == len(notifier.sent), "each occasion is told once"
    if os.environ.get("NBM_WRITE_SAMPLES"):
        for name, message in sent.items():
            (SAMPLES / f"{name}.json").write_text(json.dumps(message, indent=2, sort_keys=True) + "\n")
    samples = {path.stem: json.loads(path.read_text()) for path in SAMPLES.glob("*.json")}
    assert sorted(sent) == sorted(samples)
    for name, message in sent.items():
        assert message == samples[name]


def test_every_step_but_the_last_and_the_check_is_told_of() -> None:
    told = [phase for step in steps.STEPS for phase, _ in servers.AFTER_STEP.get(step.name, ())]
    assert told == [
        *("live_migration_pre.start", "live_migration_pre.end", "live_migration_post.start", "live_migration_post_dest.start"),
        *("live_migration_post_dest.end", "live_migration_post.end"),
    ]


def test_a_broker_that_is_away_stops_nobody_and_what_does_not_fit_is_dropped(caplog: pytest.LogCaptureFixture) -> None:
    notifier = Notifier()
    notifier.gate.clear()
    sender = sending.Sender(notifier, 3)
    context = service_context(REQUEST)
    for number in range(20):
        sender.put(context, "nova-compute:a", f"event.{number}", {}, "info")
    assert "Notifications are dropped" in caplog.text
    assert notifier.sent == []
    notifier.gate.set()
    sender.flush()
    sender.put(context, "nova-compute:a", "event.later", {}, "info")
    sender.flush()
    told = [message["event_type"] for message in notifier.sent]
    assert told[0] == "event.0" and told[-1] == "event.later"
    assert len(told) in (4, 5)  # three waited, one more if it was under way
    assert f"{20 - len(told) + 1} were dropped" in caplog.text


def test_one_that_cannot_be_sent_keeps_no_other_back(notifier: Notifier) -> None:
    notifier.error = OSError("no broker")
    sending.emit(service_context(REQUEST), "nova-compute:a", "event.lost", {})
    sending.flush()
    notifier.error = None
    sending.emit(service_context(REQUEST), "nova-compute:a", "event.sent", {})
    sending.flush()
    assert [message["event_type"] for message in notifier.sent] == ["event.sent"]


def test_nothing_is_read_or_sent_where_notifications_are_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "_sender", None)
    gone = models.Migration(instance_uuid="nobody", source_compute="a", dest_compute="b", request_id=REQUEST)
    servers.step_done(gone, "queue")
    servers.server_action(service_context(REQUEST), "nobody", "start", "end")
    assert not sending.is_on()


def test_a_fault_says_where_it_was_raised() -> None:
    def fail() -> None:
        raise exceptions.NoValidHost(reason="none is up")

    try:
        fail()
    except exceptions.NoValidHost as error:
        data = payloads.exception(error)["nova_object.data"]
    assert (data["function_name"], data["module_name"], data["exception"]) == ("fail", __name__, "NoValidHost")
    assert "none is up" in data["exception_message"] and "Traceback" in data["traceback"]
