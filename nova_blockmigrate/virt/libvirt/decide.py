"""What to do next with a guest of which two hosts have a copy (DESIGN, Reconciliation): a table, without I/O.

The rule behind it: a copy is started only when the other is proven never to run again, and the copy that ran last lives.
Used after an exception of `migrateToURI3` and after restarts, by the driver and by the conductor.
"""

from __future__ import annotations

import enum

from nova_blockmigrate.objects import Copy, Observation


class Action(enum.StrEnum):
    """What the two observations call for."""

    WATCH = "re-attach to the job and keep steering"
    ROLL_BACK = "the guest is on the source; clean the destination"
    DESTROY_DESTINATION = "destroy the destination's copy, then roll back"
    RESUME_SOURCE = "destroy an incoming copy if there is one, resume the source, roll back"
    FENCE_AND_RESUME = "fence the source, then resume the destination"
    FENCE_AND_FINISH = "fence the source; the destination runs already"
    RESUME_DESTINATION = "the source is proven dead; resume the destination"
    FINISH = "the guest is on the destination; finish"
    RECOVER = "half moved, and the stream between the two is broken: restore it"
    GIVE_UP = "half moved, and one half is dead: the guest has ended, and the destination's disks are the last word"
    ALARM = "two copies run: suspend the one that no handover resumed; a person decides"
    WAIT = "not known: start nothing, delete nothing, look again"


_NOT_THERE = {Copy.ABSENT, Copy.SHUT_OFF, Copy.CRASHED, Copy.MIGRATED_AWAY}
_JOB = {Copy.RUNNING_JOB, Copy.PAUSED_MIGRATION_JOB}
_ENDED = {Copy.SHUT_OFF, Copy.CRASHED}
_EXECUTES = {Copy.RUNNING, Copy.RUNNING_JOB}
_HALF_MOVED = {Copy.POST_COPY, Copy.POST_COPY_BROKEN}


def decide(source: Observation, destination: Observation) -> Action:
    """The one action that both observations allow."""
    here, there = _as_source(source.copy), _as_destination(destination.copy)
    if here is Copy.UNREACHABLE:
        return Action.WAIT
    is_half_moved = here in _HALF_MOVED or there in _HALF_MOVED
    if is_half_moved and not source.self_switching:
        return Action.WAIT  # somebody else moves it by post-copy: each half is of no use without the other
    if source.alarmed:
        return _alarmed(here, there)
    if source.switched or is_half_moved:
        return _switched(here, there, source.fenced)
    if source.self_switching and there is Copy.UNREACHABLE:
        return Action.WATCH if here in _JOB else Action.WAIT
    if here is Copy.MIGRATED_AWAY or (source.fenced and here not in _EXECUTES):  # libvirt may not have noticed that it is dead
        return _source_fenced(there, destination.never_ran)
    if here in _JOB:
        return Action.WATCH if there is not Copy.RUNNING else _both(here)
    if here is Copy.RUNNING:
        return _source_runs(there)
    if here is Copy.PAUSED_BY_USER:
        return _source_paused_by_user(there)
    if here is Copy.PAUSED_MIGRATION:
        return _source_paused(there)
    if here in _ENDED:
        return _source_ended(there)
    return _source_gone(there, here is Copy.ABSENT)


def _as_source(copy: Copy) -> Copy:
    """libvirt's "paused, migration" and "paused, user" mean one thing at the source, and another at the destination."""
    return {Copy.INCOMING: Copy.PAUSED_MIGRATION, Copy.PAUSED_COMPLETE: Copy.PAUSED_BY_USER}.get(copy, copy)


def _as_destination(copy: Copy) -> Copy:
    return {
        Copy.PAUSED_MIGRATION: Copy.INCOMING,
        Copy.PAUSED_MIGRATION_JOB: Copy.INCOMING,
        Copy.PAUSED_BY_USER: Copy.PAUSED_COMPLETE,
        Copy.RUNNING_JOB: Copy.RUNNING,
    }.get(copy, copy)


def _alarmed(here: Copy, there: Copy) -> Action:
    """Both copies have run: which one is the guest cannot be known here. A person ends one of them and lets the other one run."""
    if there is Copy.RUNNING and here in _EXECUTES:
        return Action.ALARM
    if there is Copy.RUNNING and here in _NOT_THERE:
        return Action.FINISH
    return Action.ROLL_BACK if here is Copy.RUNNING and there in _NOT_THERE else Action.WAIT


def _both(here: Copy) -> Action:
    return Action.ALARM if here is Copy.RUNNING_JOB else Action.FENCE_AND_FINISH


def _source_runs(there: Copy) -> Action:
    if there is Copy.RUNNING:
        return Action.ALARM
    if there in _NOT_THERE or there is Copy.UNREACHABLE:
        # out of reach it cannot run either: it is resumed only on proof that the source never runs again
        return Action.ROLL_BACK
    return Action.DESTROY_DESTINATION


def _source_paused_by_user(there: Copy) -> Action:
    if there is Copy.RUNNING:
        return Action.FENCE_AND_FINISH
    if there in _NOT_THERE or there is Copy.UNREACHABLE:
        return Action.ROLL_BACK
    return Action.DESTROY_DESTINATION


def _source_paused(there: Copy) -> Action:
    """Nobody lets the destination run before the source is fenced, or its libvirt says that it is gone: one that cannot be
    seen does not run."""
    if there is Copy.RUNNING:
        return Action.FENCE_AND_FINISH
    return Action.FENCE_AND_RESUME if there is Copy.PAUSED_COMPLETE else Action.RESUME_SOURCE


def _source_ended(there: Copy) -> Action:
    """The guest powered off or died by itself: its disks on the source are the last word, unless it runs there."""
    if there is Copy.RUNNING:
        return Action.FINISH
    if there in _NOT_THERE or there is Copy.UNREACHABLE:
        return Action.ROLL_BACK
    return Action.DESTROY_DESTINATION


def _source_fenced(there: Copy, never_ran: bool) -> Action:
    """We, or libvirt, killed it for the other copy's sake. When that one is lost before it ever ran, the source's disks are the
    last word."""
    lost = there in _NOT_THERE or there is Copy.INCOMING
    if lost and never_ran:
        return Action.DESTROY_DESTINATION if there is Copy.INCOMING else Action.ROLL_BACK
    return _source_gone(there, unexplained=False)


def _source_gone(there: Copy, unexplained: bool) -> Action:
    """Absent, migrated away, or fenced by us: it never runs again. `unexplained`: absent, and we did not fence it."""
    if there is Copy.RUNNING or there in _ENDED:
        # one that has ended may have run there for long: its disks are the last word, the source's are stale
        return Action.FINISH
    if there is Copy.PAUSED_COMPLETE:
        return Action.RESUME_DESTINATION
    if there is Copy.UNREACHABLE or not unexplained:
        return Action.WAIT
    # a transient guest that ended in mid-copy: libvirt forgets it only then, or when the copy was complete
    return Action.DESTROY_DESTINATION if there is Copy.INCOMING else Action.ROLL_BACK


def _switched(here: Copy, there: Copy, fenced: bool) -> Action:
    """libvirt has let the destination run by itself: the guest goes on there or nowhere. While its memory follows, the source's
    QEMU is half of it, and is left alone."""
    dead = here in _NOT_THERE or fenced
    if there is Copy.UNREACHABLE:
        return Action.WAIT
    if here in _EXECUTES:
        return Action.ALARM if there in _EXECUTES or there in _HALF_MOVED else Action.WAIT
    if there in _HALF_MOVED:
        return _half_moved(here, there, dead)
    if here in _HALF_MOVED and there is Copy.RUNNING:
        return Action.FENCE_AND_FINISH  # all memory has gone; libvirt ends the source by itself, unless it was restarted meanwhile
    if here in _JOB or here is Copy.POST_COPY:
        return Action.WATCH  # libvirt is about to end the source, or to learn that the destination has ended
    if there is Copy.INCOMING:
        return Action.WAIT
    if there in _NOT_THERE:
        return Action.FINISH if dead and there in _ENDED else Action.GIVE_UP
    return Action.FINISH if dead else Action.FENCE_AND_FINISH


def _half_moved(here: Copy, there: Copy, dead: bool) -> Action:
    if dead:  # its QEMU says so when the stream breaks; where all memory has gone, its libvirt is about to say that
        return Action.GIVE_UP if there is Copy.POST_COPY_BROKEN and here is not Copy.MIGRATED_AWAY else Action.WAIT
    return Action.RECOVER if Copy.POST_COPY_BROKEN in (here, there) else Action.WATCH
