"""Words for what servers and migrations are and do."""

from __future__ import annotations

import enum


class PowerState(enum.IntEnum):
    """Nova's power states, with Nova's numbers (`OS-EXT-STS:power_state`)."""

    NOSTATE = 0
    RUNNING = 1
    PAUSED = 3
    SHUTDOWN = 4
    CRASHED = 6
    SUSPENDED = 7


class VmState(enum.StrEnum):
    """Nova's `OS-EXT-STS:vm_state`: what the server is for its user."""

    BUILDING = "building"
    ACTIVE = "active"
    PAUSED = "paused"
    SUSPENDED = "suspended"
    STOPPED = "stopped"
    DELETED = "deleted"
    ERROR = "error"


class GroupPolicy(enum.StrEnum):
    """What a server group asks for. The soft ones are wishes."""

    AFFINITY = "affinity"
    ANTI_AFFINITY = "anti-affinity"
    SOFT_AFFINITY = "soft-affinity"
    SOFT_ANTI_AFFINITY = "soft-anti-affinity"


class TaskState(enum.StrEnum):
    """Nova's `OS-EXT-STS:task_state`: what is being done to the server; None when nothing is."""

    SCHEDULING = "scheduling"
    SPAWNING = "spawning"
    DELETING = "deleting"
    MIGRATING = "migrating"
    POWERING_ON = "powering-on"
    POWERING_OFF = "powering-off"
    PAUSING = "pausing"
    UNPAUSING = "unpausing"
    SUSPENDING = "suspending"
    RESUMING = "resuming"
    REBOOTING = "rebooting"
    ATTACHING_VOLUME = "attaching-volume"
    DETACHING_VOLUME = "detaching-volume"


class MappingState(enum.StrEnum):
    """Where a volume stands with its server."""

    ATTACHING = "attaching"
    ATTACHED = "attached"
    DETACHING = "detaching"


class MigrationStatus(enum.StrEnum):
    """Nova's migration statuses for live migrations."""

    ACCEPTED = "accepted"
    QUEUED = "queued"
    PREPARING = "preparing"
    RUNNING = "running"
    RUNNING_POST_COPY = "running (post-copy)"
    """It cannot be aborted any more: the guest runs on its destination, and its memory follows."""
    POST_MIGRATING = "post-migrating"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    ERROR = "error"

    @property
    def is_final(self) -> bool:
        return self in _FINAL_STATUSES


_FINAL_STATUSES = frozenset({MigrationStatus.COMPLETED, MigrationStatus.FAILED, MigrationStatus.CANCELLED, MigrationStatus.ERROR})


IN_PROGRESS_STATUSES = frozenset(set(MigrationStatus) - _FINAL_STATUSES)
