"""Plays one case: a migration stopped at its point, something broken there, everything mended, and the world judged."""

import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from faultkit import breaks, checker, world
from faultkit.cases import Case
from faultkit.checker import Said, Setting, Violation
from faultkit.points import Point
from faultkit.stage import CONNECTION_ERRORS, Stage
from labkit import scenario
from labkit.commands import wait_until
from labkit.errors import LabError
from labkit.guest import Verdict
from labkit.sampler import Sampler
from labkit.scenario import HOST, TASK

REACH_LIMIT_S = 60.0
LIMIT_S = 30.0
"""Seconds after the parts are back in which everything must be consistent."""
MOVE_LIMIT_S = 120.0
"""How long a guest may need to move, or a migration to end, while something is away: several times what it takes."""
LOOK_LIMIT_S = 75.0
"""How long it is looked at, to tell how late what is late comes."""
LOOK_INTERVAL_S = 0.3


@dataclass
class Result:
    """What came of one case."""

    case: Case
    violations: list[Violation] = field(default_factory=list)
    ended: str = ""
    on: str = ""
    """"source" or "destination": where the guest is."""
    seconds: float = 0.0
    """From the moment when the parts were back to a consistent state."""
    trouble: str = ""
    """The case could not be played."""
    panics: int = 0
    """How often the case was played anew because the guest's memory was damaged: under emulation QEMU loses pages of a guest that
    moves (doc/tests.rst). It is counted, and told in the matrix."""

    @property
    def held(self) -> bool:
        return not self.violations and not self.trouble


class HostWatch(threading.Thread):
    """Keeps asking the API where the guest is."""

    def __init__(self, stage: Stage) -> None:
        super().__init__(daemon=True)
        self._stage, self._server_id = stage, stage.guest.id
        self._over = threading.Event()
        self.said: list[Said] = []

    def run(self) -> None:
        client: scenario.Client | None = None
        while not self._over.wait(0.1):
            asked_at = time.monotonic()
            try:
                client = client or scenario.Client(self._stage.lab)
                shown = client.server(self._server_id)
            except (*CONNECTION_ERRORS, LabError, ValueError):
                client = None
                continue
            self.said.append(Said(asked_at, time.monotonic(), shown[HOST], shown[TASK]))

    def stop(self) -> list[Said]:
        self._over.set()
        self.join(35)
        return list(self.said)


def play(stage: Stage, case: Case) -> Result:
    """One case, from a healthy guest to a verdict; the stage is healed, but may need to be rebuilt when it did not hold."""
    result = play_once(stage, case)
    if not result.held and stage.server is not None and not case.panics and stage.guest_lost_pages():
        stage.drop_guest()
        result = play_once(stage, case)
        result.panics = 1
    return result


def play_once(stage: Stage, case: Case) -> Result:
    result = Result(case)
    try:
        stage.heal()
        for each in case.breaks:
            each.prepare_stage(stage)
        stage.ready_guest(case.guest)
        for each in case.breaks:
            each.before(stage)
        try:
            _play(stage, case, result)
        finally:
            stage.heal()
            for each in case.breaks:
                each.after(stage)
    except (LabError, sqlite3.Error, *CONNECTION_ERRORS) as error:
        result.trouble = f"{type(error).__name__}: {error}"
    if result.held and not (case.expected.same_boot and case.expected.answers and case.expected.power == "ACTIVE"):
        stage.drop_guest()
    return result


def _play(stage: Stage, case: Case, result: Result) -> None:
    before = stage.guest.guest.status()
    setting = Setting(stage.source, stage.destination, before)
    sampler, watch = Sampler(stage.lab, stage.guest.domain).start(), HostWatch(stage)
    watch.start()
    try:
        back_at = _break(stage, case, result)
        _settle(stage, case, setting, result, back_at)
    finally:
        said = watch.stop()
        report = sampler.stop()
    result.violations += checker.judge_samples(report, sampler.samples, said)


def _break(stage: Stage, case: Case, result: Result) -> float:
    """Everything until the parts are back; returns when that was."""
    for first in case.first:
        first.do(stage)
    point = Point(stage.lab, case.point, stage.source, stage.destination) if case.point else None
    if point:
        point.arm()
    if case.slow:
        stage.slow_down()
    request = threading.Thread(target=_request, args=(stage,), daemon=True)
    request.start()
    if case.cause:
        breaks.wait_for_copying(stage)
        case.cause.do(stage)
    if point:
        point.wait(REACH_LIMIT_S)
    else:
        breaks.wait_for_copying(stage)
    for each in case.breaks:
        each.do(stage)
    if point and not case.held:
        point.clear()
    began = time.monotonic()
    _meanwhile(stage, case, result)
    time.sleep(max(0.0, began + case.away_s - time.monotonic()))
    stage.speed_up()
    for each in reversed(case.breaks):
        each.undo(stage)
    if point:
        point.clear()
    return time.monotonic()


def _request(stage: Stage) -> None:
    try:
        stage.migrate()
    except (*CONNECTION_ERRORS, LabError):
        return  # the API may be what is broken; what became of the request is read from the database


def _meanwhile(stage: Stage, case: Case, result: Result) -> None:
    """What must come to pass while the parts are away, where the case says so."""
    if case.moves_meanwhile and not _comes_true(lambda: _runs_there(stage)):
        result.violations.append(Violation(8, f"the guest did not run on its destination within {MOVE_LIMIT_S:.0f} s"))
    if case.ends_meanwhile and not _comes_true(lambda: _is_over(stage)):
        result.violations.append(Violation(5, f"the migration had no end within {MOVE_LIMIT_S:.0f} s"))


def _runs_there(stage: Stage) -> bool:
    return breaks.domains(stage, stage.destination).get(stage.guest.domain) == "running"


def _is_over(stage: Stage) -> bool:
    migration = stage.ask(lambda client: client.newest_migration(stage.guest.id))
    return migration["status"] in scenario.FINAL_STATUSES


def _comes_true(condition: Callable[[], bool]) -> bool:
    try:
        wait_until(condition, MOVE_LIMIT_S, "it comes true", interval_s=0.2)
    except LabError:
        return False
    return True


def _settle(stage: Stage, case: Case, setting: Setting, result: Result, back_at: float) -> None:
    """Look again and again until nothing is wrong, or the limit is over."""
    found: list[Violation] = []
    deadline = back_at + LOOK_LIMIT_S
    while True:
        try:
            seen = world.look(stage)
            found = checker.judge(seen, setting, case.expected)
            result.ended = seen.database.migration
            result.on = "destination" if seen.database.host == setting.destination else "source"
        except (*CONNECTION_ERRORS, LabError, sqlite3.Error) as error:
            found = [Violation(5, f"the system cannot be asked: {error}")]
        result.seconds = time.monotonic() - back_at
        if not found or time.monotonic() > deadline:
            break
        if not case.panics and [each.invariant for each in found] == [2] and stage.guest_lost_pages():
            break
        time.sleep(LOOK_INTERVAL_S)
    if not found and result.seconds > LIMIT_S:
        found = [Violation(5, f"consistent only after {result.seconds:.0f} s")]
    result.violations += found
    if not found:
        result.violations += _records(stage, case, setting)


def _records(stage: Stage, case: Case, setting: Setting) -> list[Violation]:
    last = setting.before["record"]
    host = stage.ask(lambda client: client.server(stage.guest.id))[HOST]
    verdict: Verdict
    if not case.expected.answers:
        return []
    if case.expected.power == "ACTIVE":
        status = stage.guest.guest.status()
        verdict, last = stage.guest.guest.verify(), max(last, status["record"])
        if stage.volume:
            found = checker.judge_records(stage.guest.guest.verify(volume=True), setting.before["record2"])
            if found:
                return found
    elif case.expected.power == "PAUSED":
        return []
    else:
        verdict = stage.verify_on_disk(host)
    return checker.judge_records(verdict, last)
