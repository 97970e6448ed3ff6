"""What remains to be recorded of a live migration, by what Nova's database says of it now: as a table."""

from __future__ import annotations

import pytest

from nova_blockmigrate.nova_driver.standing import Next, Standing, is_its_sources, is_still_coming, next_step
from nova_blockmigrate.objects import MigrationPlan, Server, Verdict

PLAN = MigrationPlan(1, "m", Server("s", "instance-1", "vm", 64, 1, 1, None), "a", "b", True)
MOVED, STAYED = Verdict.HANDED_OVER, Verdict.STAYED


@pytest.mark.parametrize(
    ("verdict", "now", "step"),
    [
        (MOVED, Standing("a", "migrating", "running", True), Next.RECORD),
        (MOVED, Standing("a", "migrating", "error", True), Next.RECORD),
        (MOVED, Standing("a", None, "error", True), Next.CLAIM),
        (MOVED, Standing("a", "rebuilding", "running", True), Next.WAIT),
        (MOVED, Standing("a", "deleting", "running", True), Next.WAIT),
        (MOVED, Standing("b", None, "running", True), Next.COMPLETE),
        (MOVED, Standing("b", "migrating", "running", False), Next.CLOSE),
        (MOVED, Standing("c", None, "completed", False), Next.CLOSE),
        (MOVED, Standing("c", None, "running", True), Next.CLOSE),
        (MOVED, Standing("a", None, "completed", False), Next.CLOSE),
        (MOVED, Standing("a", "migrating", "completed", True), Next.CLOSE),
        (MOVED, Standing(None, None, "completed", True), Next.CLOSE),
        (STAYED, Standing("a", "migrating", "running", True), Next.RECORD),
        (STAYED, Standing("a", None, "running", True), Next.CLAIM),
        (STAYED, Standing("a", "migrating", "failed", True), Next.CLOSE),
        (STAYED, Standing("a", "migrating", "failed", False), Next.CLOSE),
        (STAYED, Standing("c", None, "running", False), Next.CLOSE),
        (STAYED, Standing("a", "deleting", "running", True), Next.WAIT),
    ],
)
def test_what_is_left_to_do(verdict: Verdict, now: Standing, step: Next) -> None:
    assert next_step(PLAN, verdict, now) is step


@pytest.mark.parametrize("status", ["cancelled", "failed", "error", "preparing"])
def test_one_that_never_began_is_undone_whatever_its_status(status: str) -> None:
    assert next_step(PLAN, STAYED, Standing("a", "migrating", status, True), had_begun=False) is Next.RECORD


@pytest.mark.parametrize("host", ["a", "b", "c", None])
@pytest.mark.parametrize("task", [None, "migrating", "rebuilding"])
@pytest.mark.parametrize("status", ["running", "completed", "failed"])
@pytest.mark.parametrize("is_newest", [True, False])
@pytest.mark.parametrize("verdict", [MOVED, STAYED])
def test_novas_methods_are_called_only_for_a_server_that_migrates_from_here_by_this_migration(
    host: str | None, task: str | None, status: str, is_newest: bool, verdict: Verdict
) -> None:
    now = Standing(host, task, status, is_newest)
    if next_step(PLAN, verdict, now) is Next.RECORD:
        assert (host, task, is_newest) == ("a", "migrating", True)
        assert status != "completed"


@pytest.mark.parametrize(
    ("now", "sources", "coming"),
    [
        (Standing("a", "migrating", "running", True), True, True),
        (Standing("a", None, "error", True), True, True),
        (Standing("a", "migrating", "failed", True), True, False),
        (Standing("a", "rebuilding", "running", True), False, False),
        (Standing("a", None, "running", False), False, False),
        (Standing("c", None, "running", False), False, False),
        (Standing("b", None, "completed", True), False, False),
    ],
)
def test_whose_the_guest_is(now: Standing, sources: bool, coming: bool) -> None:
    assert (is_its_sources(PLAN, now), is_still_coming(PLAN, now)) == (sources, coming)
