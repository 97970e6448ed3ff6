"""What tgtd says and is told."""

from __future__ import annotations

from typing import Any

import pytest

from nova_blockmigrate import exceptions, processes
from nova_blockmigrate.volume import tgt
from nova_blockmigrate.volume.tgt import Session, Target, Tgtd

SHOWN = """Target 1: iqn.2026-01.x:v1
    System information:
        Driver: iscsi
        State: ready
    I_T nexus information:
        I_T nexus: 1
            Initiator: iqn.a:b alias: none
            Connection: 0
                IP Address: 127.0.0.1
        I_T nexus: 7
            Initiator: iqn.a:c alias: none
            Connection: 2
                IP Address: 127.0.0.2
    LUN information:
        LUN: 0
            Type: controller
            Backing store path: None
        LUN: 1
            Type: disk
            Backing store path: /v/with a space
    Account information:
        joe
        ann (outgoing)
    ACL information:
        iqn.a:b
        iqn.a:c
Target 4: iqn.2026-01.x:empty
    System information:
        Driver: iscsi
    I_T nexus information:
    LUN information:
        LUN: 0
            Backing store path: None
    Account information:
    ACL information:
"""


class Recorder:
    """Stands in for `processes.run`: notes what tgtadm is told, and answers."""

    def __init__(self, shown: str = "", code: int = 0, stderr: str = "") -> None:
        self.told: list[str] = []
        self._answer = (shown, code, stderr)

    def __call__(self, arguments: list[str], timeout_s: float | None = None) -> processes.Completed:
        assert arguments[:6] == ["tgtadm", "-C", "3", "--lld", "iscsi", "--op"]
        shown, code, stderr = self._answer
        if arguments[6] == "show":
            return processes.Completed(tuple(arguments), 0, shown.encode(), "")
        self.told.append(" ".join(arguments[6:]))
        return processes.Completed(tuple(arguments), code, b"", stderr)


@pytest.fixture
def daemon(monkeypatch: pytest.MonkeyPatch) -> Any:
    def answering(*arguments: Any) -> Recorder:
        recorder = Recorder(*arguments)
        monkeypatch.setattr(processes, "run", recorder)
        return recorder

    return answering


def test_targets_are_read_with_who_may_and_who_is_in() -> None:
    sessions = (Session(1, 0, "iqn.a:b"), Session(7, 2, "iqn.a:c"))
    allowed, users = frozenset({"iqn.a:b", "iqn.a:c"}), ("joe", "ann")
    assert tgt.parse(SHOWN) == [
        Target(1, "iqn.2026-01.x:v1", ("/v/with a space",), allowed, users, sessions),
        Target(4, "iqn.2026-01.x:empty"),
    ]
    assert tgt.parse("") == []


def test_a_new_target_gets_a_number_that_is_free_and_its_file(daemon: Any) -> None:
    told = daemon(SHOWN.replace("Target 4", "Target 1000")).told
    assert Tgtd(3).serve("iqn.new", "/v/new").tid == 1001
    assert [line.split(" --")[0] for line in told] == ["new", "new", "update"]
    assert told[1].endswith("--lun 1 --backing-store /v/new")


def test_what_is_served_already_is_not_made_again(daemon: Any) -> None:
    told = daemon(SHOWN).told
    assert Tgtd(3).serve("iqn.2026-01.x:v1", "/v/with a space").tid == 1
    assert told == []


def test_exactly_the_named_initiators_are_let_in_and_others_thrown_out(daemon: Any) -> None:
    told = daemon(SHOWN).told
    Tgtd(3).allow(tgt.parse(SHOWN)[0], {"iqn.a:c", "iqn.a:d"})
    assert told == [
        "bind --mode target --tid 1 --initiator-name iqn.a:d",
        "unbind --mode target --tid 1 --initiator-name iqn.a:b",
        "delete --mode conn --tid 1 --sid 1 --cid 0",
    ]


def test_a_session_that_ended_by_itself_is_fine(daemon: Any) -> None:
    daemon(SHOWN, 22, "tgtadm: can't find the session")
    Tgtd(3)._disconnect(tgt.parse(SHOWN)[0], Session(9, 0, "iqn.a:b"))


def test_a_refusal_is_told_with_tgtadms_own_words(daemon: Any) -> None:
    daemon("", 107, "tgtadm: failed to send request hdr to tgt daemon, Transport endpoint is not connected")
    with pytest.raises(exceptions.VolumeBackendError, match="failed to send request"):
        Tgtd(3).serve("iqn.new", "/v/new")


def test_a_host_without_tgt_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: Any) -> None:
        raise FileNotFoundError

    monkeypatch.setattr(processes, "run", missing)
    with pytest.raises(exceptions.VolumeBackendError, match="install tgt"):
        Tgtd(3).targets()
