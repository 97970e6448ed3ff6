"""The dry run's report as people read it."""

from __future__ import annotations

from typing import Any

from nova_blockmigrate.cmd import preflight_tables
from nova_blockmigrate.conductor.preflight.estimate import Guest, History, estimate
from nova_blockmigrate.objects import GuestLoad, to_primitive

MIB = 1024**2


def finding(result: str, title: str = "Memory", found: str = "100 MiB free", **values: str) -> dict[str, str]:
    return {"result": result, "title": title, "found": found, "needed": "", "remedy": "", **values}


def host(name: str, *findings: dict[str, str], rank: int | None = None, dirty: int = 0) -> dict[str, Any]:
    load = GuestLoad(1.0, 64 * MIB, dirty, 0)
    made = estimate(Guest(256 * MIB, 512 * MIB, 0), load, 0, History(100 * MIB, True, 2, 90.0), 0, 500)
    values = to_primitive(made) | {"total_bytes": made.total_bytes}
    return {"host": name, "rank": rank, "acceptable": rank is not None, "findings": list(findings), "estimate": values}


def report(*hosts: dict[str, Any]) -> dict[str, Any]:
    return {"server_uuid": "u", "server_name": "vm", "source": "a", "hosts": list(hosts)}


def test_without_host_each_has_a_line_and_the_best_its_checks() -> None:
    out = finding("failed", found="1 MiB free")
    text = preflight_tables.render(report(host("b", finding("passed"), rank=1), host("c", out, finding("unknown"))), None)
    lines = text.splitlines()
    assert any(line.split()[:2] == ["1", "b"] for line in lines)
    assert any(line.split()[:2] == ["-", "c"] and line.endswith("Memory: 1 MiB free") for line in lines)
    assert "b: acceptable" in lines and "c: NOT acceptable" not in text


def test_what_did_not_pass_says_what_is_needed_and_what_to_do() -> None:
    text = preflight_tables.render(report(host("c", finding("failed", needed="256 MiB", remedy="choose another"))), "c")
    assert "FAILED" in text and "needed:  256 MiB" in text and "to do:  choose another" in text
    assert "RANK" not in text


def test_the_estimate_gives_sizes_time_pause_and_how_sure() -> None:
    text = preflight_tables.render(report(host("b", finding("passed"), rank=1)), "b")
    assert "To move: 576 MiB (disk 512 MiB, memory 64 MiB, missing base image 0 MiB)" in text
    assert "6 s (4 to 9) at 100 MiB/s, measured between these hosts" in text
    assert "90 ms" in text and "measured\n" in text


def test_a_transfer_that_may_not_end_is_said_so() -> None:
    assert "endless s" not in preflight_tables.render(report(host("b", finding("passed"), rank=1, dirty=99 * MIB)), "b")
    assert "may not end" in preflight_tables.render(report(host("b", finding("passed"), rank=1, dirty=99 * MIB)), "b")


def test_no_estimate_and_no_host_are_said() -> None:
    silent = host("b", finding("unknown")) | {"estimate": None}
    assert "No estimate" in preflight_tables.render(report(silent), "b")
    assert "no other compute host" in preflight_tables.render(report(), None)
