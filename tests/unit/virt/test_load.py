"""Measuring what a guest writes, against a libvirt that answers as told."""

from __future__ import annotations

from typing import Any

import libvirt
import pytest

from nova_blockmigrate.virt.libvirt import load

MIB = 1024**2


class Domain:
    def __init__(self, job: int = libvirt.VIR_DOMAIN_JOB_NONE, refuses: bool = False) -> None:
        self._job, self._refuses = job, refuses
        self.asked: list[int] = []

    def jobInfo(self) -> list[int]:
        return [self._job]

    def startDirtyRateCalc(self, seconds: int, flags: int) -> None:
        if self._refuses:
            raise libvirt.libvirtError("dirty rate is not supported")
        self.asked.append(seconds)

    def memoryStats(self) -> dict[str, int]:
        return {"rss": 300 * 1024}

    def maxMemory(self) -> int:
        return 256 * 1024


class Connection:
    """Disk counters rise by 5 MiB and 1 MiB between two looks; the dirty rate is there at the second look."""

    def __init__(self) -> None:
        self._looks = 0
        self._dirty_looks = 0

    def domainListGetStats(self, domains: list[Any], which: int) -> list[Any]:
        if which == libvirt.VIR_DOMAIN_STATS_DIRTYRATE:
            self._dirty_looks += 1
            status = 2 if self._dirty_looks > 1 else 1
            return [(domains[0], {"dirtyrate.calc_status": status, "dirtyrate.megabytes_per_second": 7})]
        self._looks += 1
        first, second = self._looks * 5 * MIB, self._looks * MIB
        return [(domains[0], {"block.count": 2, "block.0.wr.bytes": first, "block.1.wr.bytes": second, "block.0.rd.bytes": 9})]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    class Time:
        now = 0.0

        def monotonic(self) -> float:
            return self.now

        def sleep(self, seconds: float) -> None:
            self.now += seconds

    class Native:
        time = Time()

    monkeypatch.setattr(load, "native", Native())


def test_memory_and_disks_are_watched_over_the_same_time() -> None:
    domain = Domain()
    found = load._watch(Connection(), domain, 2)
    assert domain.asked == [2]
    assert (found.dirty_bytes_s, found.disk_written_bytes_s, found.reason) == (7 * MIB, 3 * MIB, "")


def test_used_memory_is_never_more_than_the_guest_has() -> None:
    assert load._watch(Connection(), Domain(), 1).memory_used_bytes == 256 * MIB


def test_without_a_dirty_rate_the_disks_are_measured_still() -> None:
    found = load._watch(Connection(), Domain(refuses=True), 1)
    assert found.dirty_bytes_s is None and found.disk_written_bytes_s == 6 * MIB
    assert "not supported" in found.reason


def test_a_guest_that_has_a_job_is_left_alone() -> None:
    domain = Domain(job=libvirt.VIR_DOMAIN_JOB_UNBOUNDED)
    found = load._watch(Connection(), domain, 1)
    assert domain.asked == [] and found.dirty_bytes_s is None and "job" in found.reason
