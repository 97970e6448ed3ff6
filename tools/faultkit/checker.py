"""Judges what was seen: every way in which it breaks one of the invariants, in words. Pure; see `world.py` for the looking."""

from dataclasses import dataclass
from typing import Any

from faultkit.world import HostWorld, Volume, World
from labkit.guest import Verdict
from labkit.sampler import Report, Sample

COMPLETED, FAILED, CANCELLED, ERROR = "completed", "failed", "cancelled", "error"
INVARIANTS = {
    1: "never two running copies",
    2: "the guest goes on",
    3: "no disk deleted that is needed",
    4: "the database names the right host",
    5: "consistent without operator",
    6: "nothing left behind",
    7: "what failed changed nothing",
    8: "a transfer outlives the control plane",
}
UNREADABLE = ("Traceback", "<class", "0x7f", "object at")


@dataclass(frozen=True)
class Violation:
    invariant: int
    words: str

    def __str__(self) -> str:
        return f"{self.invariant} ({INVARIANTS[self.invariant]}): {self.words}"


@dataclass(frozen=True)
class Expected:
    """How a case must end."""

    statuses: tuple[str, ...] = (COMPLETED,)
    """Final status of the migration; it says where the guest is: on the destination when completed."""
    power: str = "ACTIVE"
    """The server's status in the end: ACTIVE, SHUTOFF or PAUSED."""
    same_boot: bool = True
    answers: bool = True
    """False: the guest has silenced itself."""
    reason: str = ""
    """Words that the reason of a migration that did not complete must have."""
    write_errors: bool = False
    """The guest's own writes may fail for a while: its disk does."""
    control_plane_only: bool = False
    """Only parts that control were broken: the transfer must neither stop nor fail."""


@dataclass(frozen=True)
class Setting:
    """Where the case began."""

    source: str
    destination: str
    before: dict[str, Any]


def judge(world: World, setting: Setting, expected: Expected) -> list[Violation]:
    """All that is not (yet) as it must be."""
    over = _status(world, expected)
    if over:
        return over
    survivor = setting.destination if world.database.migration == COMPLETED else setting.source
    other = setting.source if survivor == setting.destination else setting.destination
    found = _server(world, survivor, expected)
    found += _survivor(world.hosts[survivor], expected) + _other(world.hosts[other], survivor)
    found += _guest(world.guest, setting.before, expected) + _volume(world.volume, survivor)
    found += _reason(world, expected)
    for host in world.hosts.values():
        found += _left(host)
    return found


def _status(world: World, expected: Expected) -> list[Violation]:
    database = world.database
    if database.unfinished:
        return [Violation(6, f"the migration is still {database.migration}: {'; '.join(database.reasons) or 'no reason said'}")]
    if database.migration not in expected.statuses:
        why = "; ".join(database.reasons) or "no reason said"
        wanted = " or ".join(expected.statuses)
        return [
            Violation(8 if expected.control_plane_only else 5, f"the migration ended as {database.migration}, not {wanted}: {why}")
        ]
    return [Violation(6, words) for words in database.held]


def _server(world: World, survivor: str, expected: Expected) -> list[Violation]:
    database = world.database
    found = []
    if database.host != survivor:
        found.append(Violation(4, f"the server is on {database.host} by the database, and should be on {survivor}"))
    if database.status != expected.power:
        found.append(Violation(5, f"the server is {database.status}, not {expected.power}"))
    if database.task_state is not None:
        found.append(Violation(6, f"the server is still {database.task_state}"))
    return found


def _survivor(host: HostWorld, expected: Expected) -> list[Violation]:
    wanted = {"ACTIVE": "running", "PAUSED": "paused", "SHUTOFF": "shut off"}[expected.power]
    found = []
    if host.domain != wanted:
        found.append(Violation(2, f"libvirt of {host.name} says {host.domain or 'no such domain'}, not {wanted}"))
    elif not host.persistent:
        found.append(Violation(2, f"the domain on {host.name} would not survive a stop: it is transient"))
    if not host.has_disk:
        found.append(Violation(3, f"the disk is gone from {host.name}, where the guest is"))
    if not host.owns:
        found.append(Violation(6, f"{host.name} has no ledger of the guest: its files will stay when it leaves"))
    return found


def _other(host: HostWorld, survivor: str) -> list[Violation]:
    found = []
    if host.process_runs:
        found.append(Violation(1, f"a QEMU of the guest lives on {host.name}, too"))
    left = [words for words in host.belongings if not words.startswith("process")]
    left += [f"ledger of {host.name}"] if host.owns else []
    if left:
        found.append(Violation(6, f"left on {host.name} though the guest is on {survivor}: {', '.join(left)}"))
    return found


def _left(host: HostWorld) -> list[Violation]:
    found = []
    if host.records:
        found.append(Violation(6, f"{host.name} still remembers a migration (and what it claimed): {', '.join(host.records)}"))
    if host.debris:
        found.append(Violation(6, f"left on {host.name}: {', '.join(host.debris)}"))
    if not host.foreign_is_safe:
        found.append(Violation(3, f"a file on {host.name} that was in nobody's ledger is gone"))
    return found


def _guest(guest: dict[str, Any] | None, before: dict[str, Any], expected: Expected) -> list[Violation]:
    if expected.power != "ACTIVE" or not expected.answers:
        return []
    if guest is None:
        return [Violation(2, "the guest does not answer")]
    found = []
    if (guest["boot_id"] == before["boot_id"]) is not expected.same_boot:
        found.append(Violation(2, "the guest was started anew" if expected.same_boot else "the guest did not start anew"))
    if guest["record"] <= before["record"]:
        found.append(Violation(2, f"the guest writes no records: {before['record']} before, {guest['record']} now"))
    if guest["record_errors"] and not expected.write_errors:
        found.append(Violation(2, f"{guest['record_errors']} writes of the guest failed"))
    return found


def _volume(volume: Volume | None, survivor: str) -> list[Violation]:
    """In the end the surviving host has the guest's volume, and nobody else has a right to it."""
    if volume is None:
        return []
    wanted = (survivor,)
    seen = {"its target lets in": volume.let_in, "logged in are": volume.logged_in, "the database attaches it to": volume.attached}
    found = []
    for words, hosts in seen.items():
        if hosts != wanted:
            told = f"{words} {', '.join(hosts) or 'nobody'}, not {survivor}"
            found.append(Violation(6 if survivor in hosts else 2, f"the guest's volume: {told}"))
    return found


def _reason(world: World, expected: Expected) -> list[Violation]:
    database = world.database
    if database.migration == COMPLETED:
        return []
    text = " ".join(database.reasons)
    if len(text) < 12 or any(word in text for word in UNREADABLE):
        return [Violation(7, f"no person can read the reason: {text or 'there is none'}")]
    if expected.reason and expected.reason.lower() not in text.lower():
        return [Violation(7, f"the reason does not speak of {expected.reason!r}: {text}")]
    return []


def judge_records(verdict: Verdict, last_seen: int) -> list[Violation]:
    """The guest's disk, read where the guest is."""
    if not verdict.is_whole:
        return [Violation(2, f"records were lost: 1 to {verdict.last}, {verdict.missing} missing, {verdict.corrupt} corrupt")]
    if verdict.last < last_seen:
        return [Violation(2, f"records were lost: the last is {verdict.last}, and {last_seen} had been written")]
    return []


@dataclass(frozen=True)
class Said:
    """One answer of the API while the case was played: which host, whether something is being done."""

    asked_at: float
    answered_at: float
    host: str
    task_state: str | None


def judge_samples(report: Report, samples: list[Sample], said: list[Said]) -> list[Violation]:
    """What must hold at every instant."""
    found = []
    if report.max_running > 1:
        found.append(Violation(1, f"{report.max_running} copies ran at once, for {report.overlap_s * 1000:.0f} ms"))
    for answer in said:
        if answer.task_state is None and _was_absent(samples, answer):
            found.append(Violation(4, f"the database named {answer.host}, and libvirt there had no such domain"))
            break
    return found


def _was_absent(samples: list[Sample], answer: Said) -> bool:
    """Whether every answer of that host's libvirt in this time was that it has no such domain."""
    states = [
        sample.state
        for sample in samples
        if sample.host == answer.host
        and sample.asked_at >= answer.asked_at - 0.1
        and sample.answered_at <= answer.answered_at + 0.1
    ]
    return bool(states) and all(state == -1 for state in states)
