"""Guests whose memory follows them: what hurries, what nothing may end, how a broken stream is restored, when it is given up."""

from __future__ import annotations

import dataclasses
import json
import pathlib
from typing import Any

import libvirt
import libvirt_qemu
import pytest

from nova_blockmigrate.compute.ledger import Records
from nova_blockmigrate.compute.transfers import TransferControl
from nova_blockmigrate.concurrency import native
from nova_blockmigrate.exceptions import HypervisorError
from nova_blockmigrate.objects import (
    Copy,
    Observation,
    PowerState,
    TransferOutcome,
    Verdict,
)
from nova_blockmigrate.virt.libvirt import arrival, inspect_host, post_copy, qemu_log, settle, transfer
from nova_blockmigrate.virt.libvirt.host import Host
from nova_blockmigrate.virt.libvirt.observe import classify
from nova_blockmigrate.virt.libvirt.settle import Settlement, Situation
from tests.unit.virt.hosts import CRASHED, GUEST, PAUSED_BY_MIGRATION, PLAN, RUNNING, UUID

HALF = (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_POSTCOPY)
BROKEN = (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_POSTCOPY_FAILED)
HALF_THERE = (libvirt.VIR_DOMAIN_RUNNING, libvirt.VIR_DOMAIN_RUNNING_POSTCOPY)
BROKEN_THERE = (libvirt.VIR_DOMAIN_RUNNING, libvirt.VIR_DOMAIN_RUNNING_POSTCOPY_FAILED)
SILENT = "no answer"


class Domain:
    """One host's domain as libvirt tells of it; what is done to it is kept in `done`."""

    def __init__(self, state: tuple[int, int] = RUNNING, memory_total: int = 0, elapsed_ms: int = 0) -> None:
        self.present, self.stream, self.trouble = state, "active", ""
        self.memory_total, self.elapsed_ms = memory_total, elapsed_ms
        self.done: list[str] = []

    def name(self) -> str:
        return "instance-1"

    def state(self) -> list[int]:
        return list(self.present)

    def jobStats(self) -> dict[str, Any]:
        kind = {"type": libvirt.VIR_DOMAIN_JOB_UNBOUNDED, "operation": libvirt.VIR_DOMAIN_JOB_OPERATION_MIGRATION_OUT}
        return kind | {"memory_total": self.memory_total, "time_elapsed": self.elapsed_ms}

    def destroy(self) -> None:
        self.done.append("destroy")
        self.present = (libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_DESTROYED)

    def migrateToURI3(self, _uri: str, _parameters: dict[str, Any], flags: int) -> None:
        assert flags & libvirt.VIR_MIGRATE_POSTCOPY_RESUME
        self.done.append("resume")
        if self.trouble:
            raise libvirt.libvirtError(self.trouble)
        self.stream = "completed"

    def __getattr__(self, call: str) -> Any:
        return lambda *_: self.done.append(call)


class HostWith(Host):
    """A host whose libvirt has this domain, or none."""

    def __init__(self, name: str, domain: Domain | None) -> None:
        super().__init__("test:///default", name)
        self.has: Domain | None = domain
        self.defined: list[str] = []

    def find_domain(self, uuid: str, connection: Any = None) -> Any | None:
        return self.has

    def connection(self) -> Any:
        return self

    def open(self, timeout_s: float = 0) -> Any:
        return self

    def close(self) -> None: ...

    def lookupByUUIDString(self, _uuid: str) -> Any:
        return self.has

    def defineXML(self, xml: str) -> None:
        self.defined.append(xml)


# --- steering -------------------------------------------------------------------------------------------------------


class SteeringOneLookAtATime(transfer.Steering):
    def _run(self) -> None: ...

    def look(self) -> None:
        self._look()


def steering(domain: Domain, may: bool = True, limit_s: float | None = None) -> SteeringOneLookAtATime:
    settings = transfer.TransferSettings("qemu+tcp://%s/system", 0, libvirt.VIR_MIGRATE_POSTCOPY)
    made = SteeringOneLookAtATime(domain, settings, TransferControl(), native.queue.SimpleQueue(), False, limit_s, may)
    made.wait()
    return made


def test_post_copy_begins_with_the_memory_not_while_disks_are_mirrored() -> None:
    domain = Domain(memory_total=0)
    steered = steering(domain)
    steered.force_complete()
    steered.look()
    assert domain.done == []
    domain.memory_total = 256 * 1024**2
    steered.look()
    assert domain.done == ["migrateStartPostCopy"]


def test_post_copy_is_asked_for_until_it_has_begun() -> None:
    """QEMU accepts, and forgets, what comes a moment before its migration begins."""
    domain = Domain(memory_total=1)
    steered = steering(domain)
    steered.force_complete()
    steered.look()
    steered.look()
    domain.present = HALF
    steered.look()
    assert domain.done == ["migrateStartPostCopy"] * 2
    assert steered.half_moved and steered.last.post_copy


def test_nobody_who_does_not_ask_for_it_gets_post_copy() -> None:
    domain = Domain(memory_total=1)
    steering(domain).look()
    assert domain.done == ["migrateSetMaxDowntime"]


def test_without_permission_force_complete_allows_any_pause_as_ever() -> None:
    domain = Domain(memory_total=1)
    steered = steering(domain, may=False)
    steered.force_complete()
    steered.look()
    assert domain.done == ["migrateSetMaxDowntime"]


@pytest.mark.parametrize("state", [HALF, BROKEN], ids=["whole", "broken"])
def test_nothing_ends_a_transfer_that_goes_on_by_post_copy(state: tuple[int, int]) -> None:
    domain = Domain(state, memory_total=1, elapsed_ms=10_000)
    steered = steering(domain, limit_s=1.0)
    steered.abort(limit_s=0.0)
    for _ in range(3):
        steered.look()
    assert domain.done == [] and not steered.aborted and not steered.yanked and not steered.timed_out


# --- a broken stream ------------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def qemu(monkeypatch: pytest.MonkeyPatch) -> None:
    """QEMU's own word of the stream."""

    def answer(domain: Domain, question: str, _flags: int) -> str:
        assert json.loads(question) == {"execute": "query-migrate"}
        if domain.stream == SILENT:
            raise TimeoutError("no answer within 6 s")
        return json.dumps({"return": {"status": domain.stream}})

    monkeypatch.setattr(libvirt_qemu, "qemuMonitorCommand", answer)
    monkeypatch.setattr(post_copy, "close_connection", lambda _connection: None)
    monkeypatch.setattr(post_copy, "_attempts", {})


def stream_of(host: Host) -> post_copy.Stream:
    return post_copy.Stream(host, UUID, "qemu+tcp://compute2/system", {}, libvirt.VIR_MIGRATE_POSTCOPY)


def test_a_stream_that_only_libvirt_has_given_up_is_left_alone() -> None:
    domain = Domain(BROKEN)
    domain.stream = "postcopy-active"
    assert stream_of(HostWith("compute1", domain)).restore() == ""
    assert domain.done == []


def test_a_stream_that_qemu_has_given_up_is_restored() -> None:
    domain = Domain(BROKEN)
    domain.stream = "postcopy-paused"
    assert stream_of(HostWith("compute1", domain)).restore() == ""
    assert domain.done == ["resume"]


def test_a_stream_that_cannot_be_restored_is_tried_again_later_and_later(monkeypatch: pytest.MonkeyPatch) -> None:
    domain, now = Domain(BROKEN), [100.0]
    domain.stream, domain.trouble = "postcopy-paused", "no route to host"
    monkeypatch.setattr(native.time, "monotonic", lambda: now[0])
    stream = stream_of(HostWith("compute1", domain))
    tried = []
    for second in range(0, 20):
        now[0] = 100.0 + second
        before = len(domain.done)
        assert "no route to host" in stream.restore()
        tried += [second] if len(domain.done) > before else []
    assert tried == [0, 1, 3, 7, 15]


# --- one half is dead -----------------------------------------------------------------------------------------------


def settlement(
    tmp_path: pathlib.Path,
    source: HostWith,
    destination: HostWith,
    monkeypatch: pytest.MonkeyPatch,
    out_of_reach: str = "",
    destination_is_dead: bool = False,
) -> Settlement:
    def observe(host: HostWith, _uuid: str, is_destination: bool, fenced: bool = False, _timeout_s: float = 0) -> Observation:
        if host.has is None or host.name == out_of_reach:
            return Observation(Copy.UNREACHABLE if host.name == out_of_reach else Copy.ABSENT, fenced=fenced)
        state, reason = host.has.state()
        return Observation(classify(state, reason, False, is_destination), fenced=fenced)

    monkeypatch.setattr(settle, "observe", observe)
    monkeypatch.setattr(qemu_log, "was_migrated", lambda _name: False)
    journal = Records(tmp_path).open(PLAN, "source")
    situation = Situation(source, destination, UUID, "instance-1", GUEST, journal, destination_is_dead=destination_is_dead)
    return Settlement(dataclasses.replace(situation, stream=stream_of(source), destination_xml="<domain there/>"))


@pytest.mark.parametrize("there", [None, (libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_FAILED)], ids=["unknown", "dead"])
def test_a_guest_that_dies_with_its_running_half_is_on_the_destination(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, there: tuple[int, int] | None
) -> None:
    source = HostWith("compute1", Domain(BROKEN))
    destination = HostWith("compute2", Domain(there) if there else None)
    settled = settlement(tmp_path, source, destination, monkeypatch)

    outcome = settled.reach()

    assert (outcome.verdict, outcome.power_state) == (Verdict.HANDED_OVER, PowerState.CRASHED)
    assert source.has is not None and source.has.done == ["destroy"]
    assert destination.defined == ([] if there else ["<domain there/>"])


def test_a_guest_that_loses_the_half_with_its_memory_is_given_up_at_the_destination(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, destination = HostWith("compute1", None), HostWith("compute2", Domain(BROKEN_THERE))
    outcome = settlement(tmp_path, source, destination, monkeypatch).reach()
    assert (outcome.verdict, outcome.power_state) == (Verdict.HANDED_OVER, PowerState.CRASHED)
    assert destination.has is not None and destination.has.done == ["destroy"]


def test_a_half_that_waits_for_a_page_for_ever_is_given_up_though_its_libvirt_has_not_heard_so(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, destination = HostWith("compute1", Domain(CRASHED)), HostWith("compute2", Domain(HALF_THERE))
    assert destination.has is not None
    destination.has.stream = SILENT
    outcome = settlement(tmp_path, source, destination, monkeypatch).reach()
    assert (outcome.verdict, outcome.power_state) == (Verdict.HANDED_OVER, PowerState.CRASHED)
    assert destination.has.done == ["destroy"]


@pytest.mark.parametrize("stream", ["postcopy-active", "completed"])
def test_a_half_whose_qemu_has_not_given_up_is_left_alone(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, stream: str
) -> None:
    source, destination = HostWith("compute1", Domain(CRASHED)), HostWith("compute2", Domain(HALF_THERE))
    assert destination.has is not None
    destination.has.stream = stream
    monkeypatch.setattr(settle, "PATIENCE_S", 0.0)
    assert settlement(tmp_path, source, destination, monkeypatch).reach().verdict is Verdict.UNDECIDED
    assert destination.has.done == []


def test_a_half_that_only_looked_alone_for_a_moment_lives_on(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both hosts are not seen in the same moment."""
    source, destination = HostWith("compute1", None), HostWith("compute2", Domain(BROKEN_THERE))
    settled = settlement(tmp_path, source, destination, monkeypatch)

    def arrive(_s: float) -> None:
        assert destination.has is not None
        destination.has.present = RUNNING

    monkeypatch.setattr(native.time, "sleep", arrive)
    assert settled.reach().verdict is Verdict.HANDED_OVER
    assert destination.has is not None and destination.has.done == []


def test_a_source_whose_memory_has_all_gone_is_ended_where_libvirt_has_forgotten_its_job(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a restart of the source's libvirt in post-copy."""
    source, destination = HostWith("compute1", Domain(HALF)), HostWith("compute2", Domain(RUNNING))
    assert source.has is not None and destination.has is not None
    source.has.stream = "completed"
    assert settlement(tmp_path, source, destination, monkeypatch).reach().verdict is Verdict.HANDED_OVER
    assert source.has.done == ["destroy"] and destination.has.done == []


def test_both_halves_are_left_alone_while_the_memory_flows(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, destination = HostWith("compute1", Domain(HALF)), HostWith("compute2", Domain(HALF_THERE))
    settled = settlement(tmp_path, source, destination, monkeypatch)
    assert settled.goes_on()
    assert source.has is not None and destination.has is not None
    source.has.present, source.has.stream = BROKEN, "postcopy-active"
    assert settled.goes_on()
    source.has.stream = "postcopy-paused"
    assert not settled.goes_on()
    assert source.has.done == destination.has.done == []


def test_a_broken_stream_is_told_and_looked_at_again(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, destination = HostWith("compute1", Domain(BROKEN)), HostWith("compute2", Domain(BROKEN_THERE))
    assert source.has is not None
    source.has.stream, source.has.trouble = "postcopy-paused", "no route to host"
    outcome = settlement(tmp_path, source, destination, monkeypatch).reach()
    assert outcome.verdict is Verdict.UNDECIDED
    assert "no route to host" in outcome.reason


@pytest.mark.parametrize("source_state", [HALF, PAUSED_BY_MIGRATION], ids=["half moved", "moved"])
def test_an_operators_word_brings_no_guest_back_that_ran_at_its_destination(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, source_state: tuple[int, int]
) -> None:
    """The disks of the source are older than those of the host that is said to be dead."""
    source = HostWith("compute1", Domain(source_state))
    settled = settlement(
        tmp_path, source, HostWith("compute2", None), monkeypatch, out_of_reach="compute2", destination_is_dead=True
    )
    settled._situation.journal.mark(post_copy.SWITCHED)
    monkeypatch.setattr(settle, "PATIENCE_S", 0)
    assert settled.reach().verdict is Verdict.UNDECIDED
    assert source.has is not None and source.has.done == []


@pytest.mark.parametrize("state", [HALF_THERE, BROKEN_THERE], ids=["whole", "broken"])
def test_a_half_that_runs_is_never_cleared_away(state: tuple[int, int]) -> None:
    host = HostWith("compute2", Domain(state))
    with pytest.raises(HypervisorError, match="it runs on compute2"):
        settle.destroy_copy(host, UUID)
    assert host.has is not None and host.has.done == []


# --- may QEMU? ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("conf", "switch", "problem"),
    [('user = "root"', "0", ""), ("", "1", ""), ("", "0", "only root may use userfaultfd"), ("", None, "no userfaultfd")],
)
def test_qemu_must_be_root_or_all_must_be_allowed_to(tmp_path: pathlib.Path, conf: str, switch: str | None, problem: str) -> None:
    (tmp_path / "qemu.conf").write_text(conf)
    if switch is not None:
        (tmp_path / "switch").write_text(f"{switch}\n")
    found = inspect_host.why_no_post_copy(tmp_path / "qemu.conf", tmp_path / "switch")
    assert (problem in found) if problem else not found


# --- at the destination, when the source's service is silent ----------------------------------------------------------


def complete(
    monkeypatch: pytest.MonkeyPatch,
    there: tuple[int, int] | None,
    here: tuple[int, int],
    vouched: bool = False,
    unreachable: bool = False,
    stream: str = "",
) -> tuple[TransferOutcome, list[str]]:
    def observe(host: HostWith, _uuid: str, is_destination: bool, timeout_s: float = 0) -> Observation:
        if unreachable and not is_destination:
            return Observation(Copy.UNREACHABLE)
        if host.has is None:
            return Observation(Copy.ABSENT)
        state, reason = host.has.state()
        return Observation(classify(state, reason, False, is_destination))

    monkeypatch.setattr(arrival, "observe", observe)
    source, destination = HostWith("compute1", Domain(there) if there else None), HostWith("compute2", Domain(here))
    assert destination.has is not None
    destination.has.stream = stream
    outcome = arrival.complete(destination, source, UUID, False, vouched, lambda: True)
    return outcome, destination.has.done


@pytest.mark.parametrize(("there", "here"), [(HALF, HALF_THERE), (BROKEN, HALF_THERE), (BROKEN, BROKEN_THERE), (None, HALF_THERE)])
def test_the_destination_leaves_a_half_alone_that_may_still_be_made_whole(
    monkeypatch: pytest.MonkeyPatch, there: tuple[int, int] | None, here: tuple[int, int]
) -> None:
    outcome, done = complete(monkeypatch, there, here)
    assert outcome.verdict is Verdict.UNDECIDED and done == []


def test_the_destination_gives_a_half_up_whose_source_is_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    outcome, done = complete(monkeypatch, None, BROKEN_THERE)
    assert (outcome.verdict, outcome.power_state, done) == (Verdict.HANDED_OVER, PowerState.CRASHED, ["destroy"])


def test_the_destination_gives_a_half_up_that_waits_for_a_page_of_a_dead_source(monkeypatch: pytest.MonkeyPatch) -> None:
    outcome, done = complete(monkeypatch, CRASHED, HALF_THERE, stream=SILENT)
    assert (outcome.verdict, outcome.power_state, done) == (Verdict.HANDED_OVER, PowerState.CRASHED, ["destroy"])


@pytest.mark.parametrize("vouched", [False, True])
def test_a_half_whose_source_is_out_of_reach_is_given_up_on_an_operators_word_only(
    monkeypatch: pytest.MonkeyPatch, vouched: bool
) -> None:
    outcome, done = complete(monkeypatch, None, HALF_THERE, vouched, unreachable=True)
    assert outcome.verdict is (Verdict.HANDED_OVER if vouched else Verdict.UNDECIDED)
    assert done == (["destroy"] if vouched else [])
