"""Waiting for the word that ports are wired: it counts whenever it came, and a person learns why it did not."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from oslo_config import cfg

from nova_blockmigrate import conf as configuration
from nova_blockmigrate.conductor.plug_events import PLUGGED, NotPlugged, PlugEvents
from nova_blockmigrate.db import schema, session
from nova_blockmigrate.db.queries import external_events

SERVER = "6e783272-31b5-4fdc-8828-2b8892daab39"


@pytest.fixture(autouse=True)
def database(tmp_path: object) -> Iterator[None]:
    conf = cfg.ConfigOpts()
    configuration.register(conf)
    conf([], default_config_files=[])
    session.register(conf)
    conf.set_override("connection", f"sqlite:///{tmp_path}/db.sqlite", group="database")
    schema.sync(conf)
    yield
    session.dispose()


@pytest.fixture
def plugs() -> PlugEvents:
    return PlugEvents(threading.Event())


def arrive(port: str, status: str = "completed", server: str = SERVER) -> None:
    with session.writer() as db:
        external_events.add(db, server, PLUGGED, port, status)


def test_a_word_that_came_before_anybody_waited_counts(plugs: PlugEvents) -> None:
    arrive("port-1")
    plugs.wait(SERVER, ["port-1"], 0, lambda: False)


def test_each_port_is_waited_for(plugs: PlugEvents) -> None:
    arrive("port-1")
    with pytest.raises(NotPlugged, match="No network-vif-plugged came within 0 s for port port-2: check"):
        plugs.wait(SERVER, ["port-1", "port-2"], 0, lambda: False)


def test_the_word_wakes_who_waits(plugs: PlugEvents) -> None:
    waiting = threading.Thread(target=plugs.wait, args=(SERVER, ["port-1"], 60, lambda: False))
    waiting.start()
    arrive("port-1")
    plugs.arrived()
    waiting.join(30)
    assert not waiting.is_alive()


def test_words_about_another_server_do_not_count(plugs: PlugEvents) -> None:
    arrive("port-1", server="another")
    with pytest.raises(NotPlugged):
        plugs.wait(SERVER, ["port-1"], 0, lambda: False)


def test_a_failure_ends_the_waiting_at_once(plugs: PlugEvents) -> None:
    arrive("port-1", "failed")
    with pytest.raises(NotPlugged, match="wiring failed for port port-1"):
        plugs.wait(SERVER, ["port-1"], 60, lambda: False)


def test_a_later_success_makes_good_for_a_failure(plugs: PlugEvents) -> None:
    arrive("port-1", "failed")
    arrive("port-1")
    plugs.wait(SERVER, ["port-1"], 0, lambda: False)


def test_an_abort_ends_the_waiting(plugs: PlugEvents) -> None:
    plugs.wait(SERVER, ["port-1"], 60, lambda: True)


def test_what_came_for_earlier_moves_is_forgotten(plugs: PlugEvents) -> None:
    arrive("port-1")
    with session.writer() as db:
        external_events.forget(db, [SERVER])
    with pytest.raises(NotPlugged):
        plugs.wait(SERVER, ["port-1"], 0, lambda: False)
