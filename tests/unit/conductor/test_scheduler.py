"""Which host is best."""

from __future__ import annotations

from nova_blockmigrate.conductor.scheduler import Candidate, rank, why_none


def host(name: str, free: int = 1024, up: bool = True, disabled: bool = False, moving: int = 0) -> Candidate:
    return Candidate(name, up, disabled, free, 10 * 1024**3, moving)


def test_the_idle_host_with_most_memory_comes_first() -> None:
    hosts = [host("a", 1024), host("b", 4096, moving=1), host("c", 2048)]

    assert rank(hosts, 256) == ["c", "a", "b"]


def test_hosts_that_cannot_take_the_guest_are_left_out_each_with_its_reason() -> None:
    hosts = [host("down", up=False), host("off", disabled=True), host("full", free=255), host("source")]
    source = frozenset({"source"})

    assert rank(hosts, 256, exclude=source) == []
    assert why_none(hosts, 256, exclude=source) == (
        "down: its compute service does not report; off: its compute service is disabled; "
        "full: 255 MiB of memory free, 256 MiB needed"
    )


def test_without_any_other_host_it_says_so() -> None:
    assert why_none([], 256) == "There is no other compute host."
