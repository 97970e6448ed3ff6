"""What remains to be recorded of a live migration, by what Nova's database says of it now. Pure.

An outcome may be old: a service that was away for a week takes it up again, and meanwhile the server may have moved on, come back,
been evacuated or deleted. Nova's methods are called only for what is still as they expect it.
"""

from __future__ import annotations

import dataclasses
import enum

from nova_blockmigrate.objects import MigrationPlan, Verdict

MIGRATING = "migrating"
COMPLETED, FAILED, CANCELLED = "completed", "failed", "cancelled"
EVACUATION = "evacuation"


@dataclasses.dataclass(frozen=True)
class Standing:
    """What Nova's database says."""

    host: str | None
    """Where the server is; None: nowhere (it is shelved)."""
    task_state: str | None
    status: str
    """Of this migration. "error" is Nova's word for "not followed any more", and ends nothing."""
    is_newest: bool
    """No later migration of the server, of whatever kind, is known."""
    was_evacuated: bool = False
    """Later than this migration: the server was built anew, without the data of its disks."""


class Next(enum.StrEnum):
    RECORD = "Nova's method for this outcome"
    CLAIM = "somebody reset the server's task: take it again, then as RECORD"
    COMPLETE = "the destination has the server; the rest of what Nova does then"
    CLOSE = "it is past: only what belongs to the migration itself"
    WAIT = "something else is done with the server now"


def next_step(plan: MigrationPlan, verdict: Verdict, now: Standing, had_begun: bool = True) -> Next:
    """`had_begun`: it came to a transfer. One that did not may have a final status and be unfinished (`unbegun.POSSIBLE`)."""
    if now.status == COMPLETED or not now.is_newest:
        return Next.CLOSE
    if verdict is Verdict.HANDED_OVER and now.host == plan.destination_host:
        return Next.COMPLETE
    if now.host != plan.source_host:
        return Next.CLOSE
    if verdict is not Verdict.HANDED_OVER and had_begun and now.status in (FAILED, CANCELLED):
        return Next.CLOSE  # if the server is "migrating" again, its next migration has no row yet
    return {MIGRATING: Next.RECORD, None: Next.CLAIM}.get(now.task_state, Next.WAIT)


def is_its_sources(plan: MigrationPlan, now: Standing) -> bool:
    """Whether the guest is its source's to move on: nobody gave it another home meanwhile, or is about to.

    Who evacuates must reset the server's task first; the evacuation sets another at once, and is a migration of its own.
    """
    is_open = now.is_newest and now.status != COMPLETED
    return is_open and now.host == plan.source_host and now.task_state in (MIGRATING, None)


def is_still_coming(plan: MigrationPlan, now: Standing) -> bool:
    """Whether the destination may let the guest run: its source did not say that it stayed."""
    return is_its_sources(plan, now) and now.status not in (FAILED, CANCELLED)
