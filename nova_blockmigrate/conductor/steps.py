"""The steps of a migration, declared once, in order: where each runs, what status it shows, and what undoes it.

Code, database and documentation derive from this table. Each step is idempotent: run again after a crash, it ends the
same. A failure before the point of no return undoes what was done, newest first; one after it is tried again until it
succeeds.
"""

from __future__ import annotations

import dataclasses
import enum

from nova_blockmigrate.objects import MigrationStatus


class Where(enum.StrEnum):
    CONDUCTOR = "conductor"
    SOURCE = "source"
    DESTINATION = "destination"


@dataclasses.dataclass(frozen=True)
class Step:
    name: str
    status: MigrationStatus
    """What the migration shows while the step runs."""
    where: Where
    undo: str | None = None
    """The job (on the same host; of the conductor, when the step is its own) that undoes it; None: nothing to undo."""
    event: str | None = None
    """Name of its instance action event: Nova's, where Nova has one."""
    may_go_back: bool = True
    """Whether a failure in this step rolls the migration back; false from the point of no return on."""

    @property
    def may_be_skipped(self) -> bool:
        """Whether an abort ends the migration before or within this step. In the transfer, the source decides: it may have
        begun, under another conductor."""
        return self.may_go_back and self.where is not Where.SOURCE


STEPS = (
    Step("check", MigrationStatus.ACCEPTED, Where.CONDUCTOR, event="conductor_live_migrate_instance"),
    Step("queue", MigrationStatus.QUEUED, Where.CONDUCTOR, undo="release_slot"),
    Step(
        "prepare_destination",
        MigrationStatus.PREPARING,
        Where.DESTINATION,
        undo="release_destination",
        event="compute_pre_live_migration",
    ),
    # transfer and handover are one job of the source: nothing may stand between them, least of all a message
    Step("transfer", MigrationStatus.RUNNING, Where.SOURCE, undo="release_source", event="compute_live_migration"),
    # --- point of no return: the handover, at the transfer's end ---
    Step("record", MigrationStatus.POST_MIGRATING, Where.CONDUCTOR, may_go_back=False),
    Step(
        "finish_destination",
        MigrationStatus.POST_MIGRATING,
        Where.DESTINATION,
        event="compute_post_live_migration_at_destination",
        may_go_back=False,
    ),
    Step(
        "clean_source",
        MigrationStatus.POST_MIGRATING,
        Where.SOURCE,
        event="compute_post_live_migration_at_source",
        may_go_back=False,
    ),
    Step("done", MigrationStatus.COMPLETED, Where.CONDUCTOR, may_go_back=False),
)

BY_NAME = {step.name: step for step in STEPS}
FIRST = STEPS[0]
ROLLBACK_EVENT = "compute_rollback_live_migration_at_destination"


def after(step: Step) -> Step:
    """The step that follows; "done" follows itself."""
    return STEPS[min(STEPS.index(step) + 1, len(STEPS) - 1)]


def undoing(step: Step) -> tuple[Step, ...]:
    """What to undo when `step` failed, in the order to do it: that step itself first, as it may be half done."""
    done = STEPS[: STEPS.index(step) + 1]
    return tuple(earlier for earlier in reversed(done) if earlier.undo is not None)
