"""What server groups say of hosts."""

from __future__ import annotations

import dataclasses

import pytest

from nova_blockmigrate.conductor.scheduler import Candidate, rank, why_none
from nova_blockmigrate.conductor.server_groups import Group
from nova_blockmigrate.objects import GroupPolicy

AWAY, TOGETHER = GroupPolicy.ANTI_AFFINITY, GroupPolicy.AFFINITY


def hosts(group: Group, *names: str) -> list[Candidate]:
    plain = [Candidate(name, True, False, 1024, 2**30) for name in names]
    return [dataclasses.replace(one, refusal=group.refusal(one.host), distance=group.distance(one.host)) for one in plain]


@pytest.mark.parametrize(
    ("group", "expected"),
    [
        (Group("g", AWAY, {}), ["a", "b", "c"]),
        (Group("g", AWAY, {"a": 1, "b": 1}), ["c"]),
        (Group("g", AWAY, {"a": 1, "b": 2}, most=2), ["c", "a"]),
        (Group("g", TOGETHER, {}), ["a", "b", "c"]),
        (Group("g", TOGETHER, {"b": 2, "c": 1}), ["b", "c"]),
        (Group("g", GroupPolicy.SOFT_AFFINITY, {"c": 1}), ["c", "a", "b"]),
        (Group("g", GroupPolicy.SOFT_ANTI_AFFINITY, {"a": 2, "b": 1}), ["c", "b", "a"]),
    ],
    ids=str,
)
def test_order_of_hosts(group: Group, expected: list[str]) -> None:
    assert rank(hosts(group, "a", "b", "c"), 256) == expected


def test_a_host_that_the_group_refuses_says_so() -> None:
    reason = why_none(hosts(Group("web", AWAY, {"a": 1}), "a"), 256)
    assert reason == "a: 1 of server group web (anti-affinity, at most 1 on a host) are there"
