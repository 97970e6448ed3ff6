"""What hosts and checks answer."""

from __future__ import annotations

import dataclasses
import enum
from typing import Any

from nova_blockmigrate.objects.migration import TransferProgress


class StepState(enum.StrEnum):
    """Where a step stands on the host that runs it."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


@dataclasses.dataclass(frozen=True)
class StepReport:
    """A host's answer about one step: finished or not, and with what."""

    state: StepState
    result: Any = None
    """The step's result as a primitive (see the step's function); None while it runs."""
    error: str = ""
    """Why it failed, in words for the user."""
    progress: TransferProgress | None = None
    seconds: float = 0.0


class CheckResult(enum.StrEnum):
    PASSED = "passed"
    FAILED = "failed"
    WARNING = "warning"
    UNKNOWN = "unknown"


@dataclasses.dataclass(frozen=True)
class Finding:
    """The result of one check."""

    check: str
    where: str
    title: str
    result: CheckResult
    found: str = ""
    needed: str = ""
    remedy: str = ""

    @property
    def sentence(self) -> str:
        parts = [self.title + ":", self.found]
        if self.needed:
            parts.append(f"(needed: {self.needed})")
        if self.remedy:
            parts.append(f"- {self.remedy}")
        return " ".join(part for part in parts if part)
