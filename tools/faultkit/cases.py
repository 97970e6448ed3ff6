"""The table: what is broken, where, for how long, and how it must end.

Unless a case says otherwise the migration must complete: what only controls may die as often as it likes.
"""

import dataclasses
from dataclasses import dataclass, field

from faultkit.breaks import (
    Break,
    Crash,
    ForgetBases,
    Freeze,
    FreezeOwner,
    Kill,
    KillOwner,
    LibvirtPause,
    LockDatabase,
    LoseAnswers,
    Order,
    Separate,
    Terminate,
    Unplug,
    Wish,
)
from faultkit.checker import CANCELLED, COMPLETED, ERROR, FAILED, Expected
from faultkit.disks import CloseDisk, FailDisk, FillDatabase, FillDisk, FillPostgresql, ledger_of
from faultkit.guests import ADOPTED, PLAIN, WITH_VOLUME

FAILS = Expected((FAILED,))
EITHER = Expected((FAILED, COMPLETED))
OFF = Expected((FAILED,), power="SHUTOFF")
ENDED = Expected((FAILED, COMPLETED), power="SHUTOFF")
STOPPED = Expected((ERROR, FAILED, COMPLETED))
"""A check fails, or the transfer does, or neither: whatever comes first."""
CAUSE = Kill("destination qemu")
"""What sends a migration back."""
CONTROL = Expected(control_plane_only=True)
NO_ROOM = Expected((FAILED,), reason="no space left")
IO_ERROR = "input/output error"


@dataclass(frozen=True)
class Case:
    """One cell of the matrix."""

    name: str
    point: str = ""
    """Where the migration is stopped; empty: while its disks are being copied, without being stopped."""
    breaks: tuple[Break, ...] = ()
    away_s: float = 2.0
    """How long the parts stay broken."""
    expected: Expected = field(default_factory=Expected)
    first: tuple[Break, ...] = ()
    """Done before the migration is asked for."""
    cause: Break | None = None
    """Done in mid-copy, to make the migration come to its point."""
    moves_meanwhile: bool = False
    """The guest must run on its destination before the parts are back."""
    ends_meanwhile: bool = False
    """The migration must be over before the parts are back."""
    held: bool = False
    """Whoever is at the point stays there until the parts are back."""
    in_every_run: bool = False
    """One of the dozen that every run of continuous integration plays."""
    guest: str = PLAIN
    """What kind of guest it is played with (`guests`)."""
    database: str = ""
    """What the laboratory runs on, as in its options: empty means SQLite."""

    @property
    def panics(self) -> bool:
        """The guest's kernel is told to panic."""
        return Order("crash") in self.breaks

    @property
    def slow(self) -> bool:
        """Copying must last."""
        return not self.point or self.cause is not None

    @property
    def when(self) -> str:
        if self.cause is not None:
            return f"{self.point} (after {self.cause})"
        return self.point or "mid-copy"

    @property
    def what(self) -> str:
        return ", ".join(map(str, self.breaks))


def killed(part: str, points: tuple[str, ...], expected: Expected | None = None, away_s: float = 2.0) -> tuple[Case, ...]:
    """The same part killed at each of these points."""
    expected = expected or Expected()
    return tuple(Case(f"{part} killed at {point}", point, (Kill(part),), away_s, expected) for point in points)


def with_guest(kind: str, *cases: Case) -> tuple[Case, ...]:
    """The same cases with another kind of guest."""
    return tuple(dataclasses.replace(case, name=f"{case.name}, {kind}", guest=kind) for case in cases)


CONTROL_PLANE = (
    Case("api killed at api.accepted", "api.accepted", (Kill("api"),), 2, CONTROL),
    *killed(
        "conductor",
        (
            "conductor.check.begin",
            "conductor.check.done",
            "conductor.queue.done",
            "conductor.prepare_destination.begin",
            "conductor.prepare_destination.done",
            "conductor.transfer.begin",
            "conductor.transfer.done",
            "conductor.record.done",
            "conductor.finish_destination.done",
            "conductor.clean_source.begin",
            "conductor.clean_source.done",
        ),
        CONTROL,
    ),
    Case("conductor killed in mid-copy", "", (Kill("conductor"),), 3, CONTROL, in_every_run=True),
    Case("conductor stopped in mid-copy", "", (Terminate("conductor"),), 3, CONTROL),
    Case("conductor frozen in mid-copy", "", (Freeze("conductor"),), 25, CONTROL, moves_meanwhile=True),
    Case(
        "conductor killed while it turns back",
        "conductor.turned_back",
        (Kill("conductor"),),
        2,
        FAILS,
        cause=CAUSE,
    ),
    Case("conductor killed after the roll back", "conductor.undone", (Kill("conductor"),), 2, FAILS, cause=CAUSE),
    Case("one of two conductors dies for good", "", (KillOwner(),), 0, CONTROL),
    Case(
        "one of two conductors frozen past its lease", "", (FreezeOwner(),), 25, CONTROL, moves_meanwhile=True, ends_meanwhile=True
    ),
    Case("one of two conductors frozen while it turns back", "conductor.turned_back", (FreezeOwner(),), 30, FAILS, cause=CAUSE),
    Case("one of two conductors dies in the queue", "conductor.queue.done", (KillOwner(),), 0, CONTROL),
    Case(
        "whole controller dies in mid-copy",
        "",
        (Kill("conductor"), Kill("api"), Kill("rabbitmq")),
        15,
        CONTROL,
        moves_meanwhile=True,
    ),
    Case("rabbitmq killed in mid-copy", "", (Kill("rabbitmq"),), 10, CONTROL, moves_meanwhile=True, in_every_run=True),
    Case("rabbitmq away for 90 s", "", (Kill("rabbitmq"),), 90, CONTROL, moves_meanwhile=True),
    Case("rabbitmq frozen in mid-copy", "", (Freeze("rabbitmq"),), 30, CONTROL, moves_meanwhile=True),
    Case("rabbitmq killed while preparing", "prepare.claimed", (Kill("rabbitmq"),), 5, EITHER),
    Case("rabbitmq killed at the handover", "handover.complete", (Kill("rabbitmq"),), 5, CONTROL),
    Case("database locked for 45 s", "", (LockDatabase(),), 45, CONTROL, moves_meanwhile=True),
    Case("database locked for 90 s", "", (LockDatabase(),), 90, CONTROL, moves_meanwhile=True),
    Case("database locked after the handover", "transfer.kept", (LockDatabase(),), 10, CONTROL, in_every_run=True),
)

SOURCE_COMPUTE = (
    *killed("source compute", ("check_source.end",), STOPPED),
    *killed("source compute", ("transfer.begin",), CONTROL),
    # it cannot know whether libvirt was called, finds no job, and the guest where it was
    *killed("source compute", ("transfer.journalled",), EITHER),
    *killed("source compute", ("transfer.started",), CONTROL),
    Case("source compute killed in mid-copy", "", (Kill("source compute"),), 3, CONTROL, in_every_run=True),
    Case("source compute stopped in mid-copy", "", (Terminate("source compute"),), 3, CONTROL),
    Case("source compute frozen in mid-copy", "", (Freeze("source compute"),), 25, CONTROL, moves_meanwhile=True),
    *killed("source compute", ("transfer.source_paused", "handover.fencing", "handover.complete"), CONTROL),
    Case("source compute killed at handover.stopped", "handover.stopped", (Kill("source compute"),), 2, CONTROL, in_every_run=True),
    *killed("source compute", ("handover.judged", "handover.killed"), CONTROL),
    Case("source compute killed at handover.fenced", "handover.fenced", (Kill("source compute"),), 2, CONTROL, in_every_run=True),
    *killed("source compute", ("handover.resumed", "transfer.decided", "transfer.kept", "transfer.end"), CONTROL),
    Case(
        "source compute away for 40 s from handover.fenced",
        "handover.fenced",
        (Kill("source compute"),),
        40,
        CONTROL,
        moves_meanwhile=True,
    ),
    Case("source compute away for 40 s in mid-copy", "", (Kill("source compute"),), 40, CONTROL, moves_meanwhile=True),
    *killed("source compute", ("clean_source.begin", "clean.proved", "clean.undefined"), CONTROL),
    Case(
        "source compute killed at clean.unmade",
        "clean.unmade",
        (Kill("source compute"),),
        2,
        CONTROL,
        in_every_run=True,
    ),
    *killed("source compute", ("clean_source.end",), CONTROL),
    Case(
        "source compute killed in a roll back",
        "settle.decided",
        (Kill("source compute"),),
        2,
        FAILS,
        cause=CAUSE,
    ),
    Case(
        "source compute killed at release_source.begin",
        "release_source.begin",
        (Kill("source compute"),),
        2,
        FAILS,
        cause=CAUSE,
    ),
)

DESTINATION_COMPUTE = (
    *killed("destination compute", ("check_destination.end",), STOPPED),
    *killed("destination compute", ("prepare_destination.begin", "prepare.claimed"), CONTROL),
    Case(
        "destination compute killed while a base is brought",
        "prepare.base_fetched",
        (ForgetBases(), Kill("destination compute")),
        2,
        CONTROL,
    ),
    *killed("destination compute", ("ledger.directory.listed", "ledger.file.listed"), CONTROL),
    Case(
        "destination compute killed at ledger.file.made",
        "ledger.file.made",
        (Kill("destination compute"),),
        2,
        CONTROL,
        in_every_run=True,
    ),
    *killed("destination compute", ("ledger.domain.made", "prepare_destination.end"), CONTROL),
    Case("destination compute killed in mid-copy", "", (Kill("destination compute"),), 15, CONTROL, moves_meanwhile=True),
    Case("destination compute stopped in mid-copy", "", (Terminate("destination compute"),), 3, CONTROL, moves_meanwhile=True),
    *killed("destination compute", ("finish_destination.begin", "finish_destination.end"), CONTROL),
    Case(
        "destination compute killed in a roll back",
        "release_destination.begin",
        (Kill("destination compute"),),
        2,
        FAILS,
        cause=CAUSE,
    ),
    Case(
        "destination compute killed amid a roll back",
        "ledger.file.gone",
        (Kill("destination compute"),),
        2,
        FAILS,
        cause=CAUSE,
    ),
    Case(
        "destination compute killed after a roll back",
        "release_destination.end",
        (Kill("destination compute"),),
        2,
        FAILS,
        cause=CAUSE,
    ),
)

HYPERVISORS = (
    Case("source libvirtd killed in mid-copy", "", (Kill("source libvirtd"),), 3, EITHER),
    Case(
        "source libvirtd killed at transfer.source_paused",
        "transfer.source_paused",
        (Kill("source libvirtd"),),
        3,
        EITHER,
    ),
    Case(
        "source libvirtd killed at handover.stopped",
        "handover.stopped",
        (Kill("source libvirtd"),),
        3,
        EITHER,
    ),
    Case("source libvirtd killed at handover.fenced", "handover.fenced", (Kill("source libvirtd"),), 3),
    Case("source libvirtd frozen in mid-copy", "", (Freeze("source libvirtd"),), 15, EITHER),
    Case("destination libvirtd killed in mid-copy", "", (Kill("destination libvirtd"),), 3, FAILS, in_every_run=True),
    Case(
        "destination libvirtd killed at handover.complete",
        "handover.complete",
        (Kill("destination libvirtd"),),
        3,
        EITHER,
    ),
    Case("destination libvirtd killed at handover.fenced", "handover.fenced", (Kill("destination libvirtd"),), 3),
    Case("destination libvirtd killed at finish_destination.begin", "finish_destination.begin", (Kill("destination libvirtd"),), 3),
    Case("destination libvirtd frozen in mid-copy", "", (Freeze("destination libvirtd"),), 15, EITHER),
    Case(
        "source QEMU killed in mid-copy",
        "",
        (Kill("source qemu"),),
        0,
        OFF,
    ),
    Case("destination QEMU killed in mid-copy", "", (Kill("destination qemu"),), 0, FAILS, in_every_run=True),
    # libvirt is giving the source up by then: the QEMU that dies is the guest's own
    Case("destination QEMU killed at handover.complete", "handover.complete", (Kill("destination qemu"),), 0, ENDED),
    Case(
        "destination QEMU killed at handover.resumed", "handover.resumed", (Kill("destination qemu"),), 0, Expected(power="SHUTOFF")
    ),
    Case("destination QEMU frozen in mid-copy", "", (Freeze("destination qemu"),), 10, EITHER),
    Case("source host loses power in mid-copy", "", (Crash("source"),), 5, OFF),
    Case("destination host loses power in mid-copy", "", (Crash("destination"),), 5, FAILS),
    Case("destination host stays away", "", (Crash("destination"),), 30, FAILS, ends_meanwhile=True),
    Case("source libvirtd stopped in mid-copy", "", (Terminate("source libvirtd"),), 3, EITHER),
    Case("destination libvirtd stopped in mid-copy", "", (Terminate("destination libvirtd"),), 3, EITHER),
    Case("source host loses power after the handover", "handover.resumed", (Crash("source"),), 5),
    Case("destination host loses power after the handover", "transfer.end", (Crash("destination"),), 5, Expected(power="SHUTOFF")),
)

NETWORKS = (
    Case("hosts cut from each other in mid-copy", "", (Separate("source", "destination"),), 40, FAILS, ends_meanwhile=True),
    Case("hosts cut from each other during the checks", "check_route.begin", (Separate("source", "destination"),), 10, STOPPED),
    Case(
        "hosts cut from each other shortly",
        "",
        (Separate("source", "destination"),),
        3,
        EITHER,
        in_every_run=True,
    ),
    Case(
        "hosts cut from each other before the transfer",
        "conductor.transfer.begin",
        (Separate("source", "destination"),),
        10,
        EITHER,
    ),
    Case(
        "hosts cut from each other at handover.complete",
        "handover.complete",
        (Separate("source", "destination"),),
        10,
        EITHER,
    ),
    Case("hosts cut from each other at handover.fenced", "handover.fenced", (Separate("source", "destination"),), 15),
    Case("hosts cut from each other while preparing", "prepare.claimed", (Separate("source", "destination"),), 10, EITHER),
    Case(
        "hosts cut from each other while a base is brought",
        "prepare.base_fetched",
        (ForgetBases(), Separate("source", "destination")),
        10,
        EITHER,
    ),
    Case(
        "hosts cut from each other at transfer.source_paused",
        "transfer.source_paused",
        (Separate("source", "destination"),),
        10,
        EITHER,
    ),
    Case("hosts cut from each other at handover.resumed", "handover.resumed", (Separate("source", "destination"),), 15),
    Case("hosts cut from each other while finishing", "finish_destination.begin", (Separate("source", "destination"),), 10),
    Case(
        "hosts cut from each other in a roll back", "settle.decided", (Separate("source", "destination"),), 15, FAILS, cause=CAUSE
    ),
    Case("hosts cut from each other while cleaning", "clean_source.begin", (Separate("source", "destination"),), 10),
    Case("destination's answers are lost as its copy gets complete", "", (LoseAnswers(),), 45, FAILS, ends_meanwhile=True),
    Case("source unplugged in mid-copy", "", (Unplug("source"),), 20, FAILS),
    Case("destination unplugged in mid-copy", "", (Unplug("destination"),), 20, FAILS, ends_meanwhile=True),
    Case("destination unplugged at handover.fenced", "handover.fenced", (Unplug("destination"),), 15),
    Case("source cut from the controller for 90 s", "", (Separate("source", "controller"),), 90, CONTROL, moves_meanwhile=True),
    Case(
        "destination cut from the controller in mid-copy",
        "",
        (Separate("destination", "controller"),),
        30,
        CONTROL,
        moves_meanwhile=True,
    ),
    Case(
        "both hosts cut from the controller",
        "",
        (Separate("source", "controller"), Separate("destination", "controller")),
        30,
        CONTROL,
        moves_meanwhile=True,
    ),
    Case(
        "destination cut from the controller while preparing",
        "prepare.claimed",
        (Separate("destination", "controller"),),
        10,
        EITHER,
    ),
    Case("tenant network unplugged in mid-copy", "", (Unplug("source", "tenant"),), 5, CONTROL),
)

GUESTS = (
    Case("guest powers off in mid-copy", "", (Order("poweroff"),), 0, OFF, in_every_run=True),
    Case("guest reboots in mid-copy", "", (Order("reboot"),), 0, Expected(same_boot=False)),
    Case("guest's kernel panics in mid-copy", "", (Order("crash"),), 0, Expected(answers=False)),
    Case("aborted in mid-copy", "", (Wish("abort"),), 0, Expected((CANCELLED,)), in_every_run=True),
    Case("aborted during the checks", "conductor.check.begin", (Wish("abort"),), 0, Expected((CANCELLED,))),
    Case("aborted in the queue", "conductor.queue.begin", (Wish("abort"),), 0, Expected((CANCELLED,))),
    Case("aborted while preparing", "ledger.file.listed", (Wish("abort"),), 0, Expected((CANCELLED,))),
    Case("aborted after the point of no return", "handover.fenced", (Wish("abort"),), 0),
    Case("forced to complete in mid-copy", "", (Wish("force complete"),), 0),
    Case("guest is paused in mid-copy", "", (LibvirtPause(),), 0),
    Case("source's disk fills up in mid-copy", "", (FillDisk("source"),), 5, EITHER),
    Case("destination's disk fills up in mid-copy", "", (FillDisk(),), 5, Expected((FAILED,), reason="space")),
    Case("destination's disk is full when it prepares", "prepare.claimed", (FillDisk(),), 5, Expected((FAILED,), reason="space")),
)

DISKS = (
    Case("source's disk fails in mid-copy", "", (FailDisk("source"),), 5, Expected((FAILED,), write_errors=True)),
    Case("destination's disk fails in mid-copy", "", (FailDisk(),), 5, Expected((FAILED,), reason=IO_ERROR)),
    Case(
        "destination's disk gets read-only when it prepares",
        "prepare.claimed",
        (CloseDisk(),),
        5,
        Expected((FAILED,), reason="read-only file system"),
    ),
    Case(
        "source's disk is full, and its guest writes",
        "",
        (FillDisk("source", guest_writes=True),),
        5,
        moves_meanwhile=True,
    ),
    Case("database's disk fills up in mid-copy", "", (FillDatabase(),), 20, CONTROL, moves_meanwhile=True),
    Case("database's disk is full after the handover", "transfer.kept", (FillDatabase(),), 10, CONTROL),
    Case("destination's ledger is on a full disk", "prepare_destination.begin", (ledger_of("destination"),), 10, NO_ROOM),
    Case("destination's ledger fills up while it prepares", "ledger.file.listed", (ledger_of("destination"),), 10, EITHER),
    Case("source's ledger is on a full disk", "transfer.begin", (ledger_of("source"),), 10, NO_ROOM),
    Case("source's ledger fills up at the switch", "transfer.source_paused", (ledger_of("source"),), 5, CONTROL),
)

OTHER_GUESTS = (
    *with_guest(
        WITH_VOLUME,
        *killed("destination compute", ("ledger.secret.made", "ledger.vif.made"), CONTROL),
        *killed("conductor", ("conductor.prepare_destination.begin", "conductor.clean_source.begin"), CONTROL),
        *killed("source compute", ("handover.fenced", "clean_source.begin"), CONTROL),
        Case("source compute killed in mid-copy", "", (Kill("source compute"),), 3, CONTROL),
        *(
            Case(f"destination compute killed {when} a roll back", point, (Kill("destination compute"),), 2, FAILS, cause=CAUSE)
            for when, point in (("in", "release_destination.begin"), ("amid", "ledger.secret.gone"))
        ),
    ),
    *with_guest(
        ADOPTED,
        *killed("destination compute", ("ledger.file.made",), CONTROL),
        Case("source compute killed in a roll back", "settle.decided", (Kill("source compute"),), 2, FAILS, cause=CAUSE),
    ),
)
"""Guests that have more to lose than a disk of ours."""

POSTGRESQL = tuple(
    dataclasses.replace(case, database="postgresql")
    for case in (
        Case("postgresql killed in mid-copy", "", (Kill("postgresql"),), 15, CONTROL, moves_meanwhile=True),
        Case("postgresql away for 90 s", "", (Kill("postgresql"),), 90, CONTROL, moves_meanwhile=True),
        Case("postgresql frozen in mid-copy", "", (Freeze("postgresql"),), 20, CONTROL, moves_meanwhile=True),
        Case("postgresql killed during the checks", "check_host.begin", (Kill("postgresql"),), 3, CONTROL),
        Case("postgresql killed at the handover", "handover.complete", (Kill("postgresql"),), 5, CONTROL),
        Case("postgresql killed before the record", "conductor.transfer.done", (Kill("postgresql"),), 5, CONTROL),
        Case("postgresql killed while cleaning", "conductor.clean_source.done", (Kill("postgresql"),), 5, CONTROL),
        Case("postgresql killed in a roll back", "conductor.undone", (Kill("postgresql"),), 5, FAILS, cause=CAUSE),
        Case("postgresql's disk fills up in mid-copy", "", (FillPostgresql(),), 20, CONTROL, moves_meanwhile=True),
        Case("conductor killed, on postgresql", "", (Kill("conductor"),), 2, CONTROL),
        Case("one of two conductors dies for good, on postgresql", "", (KillOwner(),), 0, CONTROL),
    )
)

CASES = (
    *CONTROL_PLANE,
    *SOURCE_COMPUTE,
    *DESTINATION_COMPUTE,
    *HYPERVISORS,
    *NETWORKS,
    *GUESTS,
    *DISKS,
    *OTHER_GUESTS,
    *POSTGRESQL,
)
"""Those on another database last: each change of it is another laboratory."""
