"""How checks are declared, run and summed up. A check that crashes is "unknown", never a broken server."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from oslo_log import log

from nova_blockmigrate import exceptions
from nova_blockmigrate.conductor.preflight.facts import Facts
from nova_blockmigrate.objects import CheckResult, Finding, to_primitive

LOG = log.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Answer:
    """What one check says; registry adds which check it was."""

    result: CheckResult
    found: str = ""
    needed: str = ""
    remedy: str = ""


def passed(found: str) -> Answer:
    return Answer(CheckResult.PASSED, found)


def failed(found: str, needed: str = "", remedy: str = "") -> Answer:
    return Answer(CheckResult.FAILED, found, needed, remedy)


def warning(found: str, remedy: str = "") -> Answer:
    return Answer(CheckResult.WARNING, found, remedy=remedy)


def unknown(found: str, remedy: str = "") -> Answer:
    return Answer(CheckResult.UNKNOWN, found, remedy=remedy)


@dataclasses.dataclass(frozen=True)
class Check:
    id: str
    where: str
    """Whose facts it looks at: conductor, source or destination."""
    title: str
    ask: Callable[[Facts], Answer]
    error: type[exceptions.BlockMigrateError]
    """What a client that waits for the checks gets when it fails; its code is Nova's."""


CHECKS: dict[str, Check] = {}


def check(
    id: str, where: str, title: str, error: type[exceptions.BlockMigrateError] = exceptions.MigrationPreCheckError
) -> Callable[[Callable[[Facts], Answer]], Callable[[Facts], Answer]]:
    """Register a function of facts as a check; checks run in the order of their registration."""

    def register(ask: Callable[[Facts], Answer]) -> Callable[[Facts], Answer]:
        CHECKS[id] = Check(id, where, title, ask, error)
        return ask

    return register


@dataclasses.dataclass(frozen=True)
class Report:
    """The findings of all checks."""

    findings: tuple[Finding, ...]

    @property
    def obstacles(self) -> tuple[Finding, ...]:
        """What forbids the migration: what failed, and what could not be found out."""
        return tuple(one for one in self.findings if one.result in (CheckResult.FAILED, CheckResult.UNKNOWN))

    @property
    def reason(self) -> str:
        """What stands in the way, in words; empty when nothing does. What failed explains what could not be found out."""
        causes = [finding for finding in self.obstacles if finding.result is CheckResult.FAILED] or self.obstacles
        alike: dict[tuple[str, str], list[Finding]] = {}
        for finding in causes:  # a host that does not answer is found out by many checks, and said once
            alike.setdefault((finding.found, finding.needed), []).append(finding)
        return " ".join(_sentence(*findings) for findings in alike.values())

    def error(self) -> exceptions.BlockMigrateError | None:
        """The obstacles as one error, with the code that Nova gives the first of them."""
        if not self.obstacles:
            return None
        first = min(self.obstacles, key=lambda finding: finding.result is not CheckResult.FAILED)
        return CHECKS[first.check].error(self.reason)

    def to_primitive(self) -> list[dict[str, Any]]:
        return [to_primitive(finding) for finding in self.findings]


def evaluate(facts: Facts) -> Report:
    """Run all checks on `facts`."""
    return Report(tuple(_run(check, facts) for check in CHECKS.values()))


def evaluate_only(facts: Facts, ids: Sequence[str]) -> list[Finding]:
    """Run some checks on `facts`."""
    return [_run(CHECKS[id], facts) for id in ids]


def _run(check: Check, facts: Facts) -> Finding:
    try:
        answer = check.ask(facts)
    except Exception as error:  # the border of a check: its crash is its own "unknown"
        LOG.exception("Check %s of server %s crashed", check.id, facts.server_uuid)
        answer = unknown(f"the check itself failed: {type(error).__name__}: {error}", remedy="report this as a defect")
    return Finding(check.id, check.where, check.title, answer.result, answer.found, answer.needed, answer.remedy)


def _sentence(finding: Finding, *others: Finding) -> str:
    """What one check found, or several that found the same."""
    more = f" (and {len(others)} more)" if others else ""
    words = f"{finding.title}{more}: {finding.found}"
    if finding.needed:
        words += f", {finding.needed} needed"
    if finding.remedy:
        words += f"; {finding.remedy}"
    return words + "."
