"""Checks of hosts that differ: poor, old, set up otherwise, out of step, silent. Made so for real; nothing moves.

One guest serves all. Services and libvirtd are started anew where they read what is changed only then.
"""

from __future__ import annotations

import contextlib
import functools
import re
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import worlds
from worlds import DESTINATION, INSTANCES, SOURCE, configured, findings, results, sh, told

from labkit import libvirt_host, machine
from labkit.commands import wait_until
from labkit.errors import LabError
from labkit.lab import Lab

CAPABILITIES = "/var/cache/libvirt/qemu/capabilities"
EMULATORS = (libvirt_host.EMULATORS / "qemu-system-x86_64", "/usr/bin/qemu-system-x86_64")
CPU_MAP = "/usr/share/libvirt/cpu_map"
SMALL_DISK = (f"mount -t tmpfs -o size=900m none {INSTANCES}", f"umount {INSTANCES}")
"""Room for what the guest's disk has now, not for what it may have."""


# --- ways to change a host ----------------------------------------------------------------------------------------------


def start_libvirtd(lab: Lab, host: str) -> None:
    lab.start(host, "libvirtd")
    other = lab.machine(SOURCE if host == DESTINATION else DESTINATION)
    wait_until(functools.partial(libvirt_host.answers, lab.layout, lab.machine(host), asked_from=other), 30, f"libvirtd of {host}")


@contextlib.contextmanager
def libvirtd_after(lab: Lab, change: str, undo: str) -> Iterator[None]:
    """The destination's libvirtd is started after `change`."""

    def start_after(script: str) -> None:
        lab.stop(DESTINATION, "libvirtd")
        lab.run(DESTINATION, ["sh", "-ec", script])
        start_libvirtd(lab, DESTINATION)

    start_after(change)
    try:
        yield
    finally:
        start_after(undo)


def little_memory(lab: Lab) -> Any:
    """The kernel says that 600 MiB are available, of which 512 are reserved."""
    shown = (
        "sed 's/^MemAvailable:.*/MemAvailable: 614400 kB/' /proc/meminfo > /run/meminfo; mount --bind /run/meminfo /proc/meminfo"
    )
    return sh(lab, DESTINATION, shown, "umount /proc/meminfo")


def no_emulator(lab: Lab) -> Any:
    hide = "; ".join(f"mount --bind /run/empty {each}" for each in EMULATORS)
    return sh(lab, DESTINATION, f"touch /run/empty; {hide}", f"umount {' '.join(map(str, EMULATORS))}")


# --- hosts that are poor, or old ------------------------------------------------------------------------------------------


def test_everything_that_is_wrong_is_told_at_once(lab: Lab, server: Any) -> None:
    with contextlib.ExitStack() as wrong:
        for breaks in (worlds.snapshot, worlds.name_taken, worlds.full_disk, worlds.bridge_missing, worlds.ports_closed):
            wrong.enter_context(breaks(lab, server))
        wrong.enter_context(little_memory(lab))
        wrong.enter_context(no_emulator(lab))
        found = findings(lab, server)

    failed = {"snapshots", "names", "disk", "networks", "ports", "memory", "hypervisor", "machine"}
    assert results(found) == dict.fromkeys(failed, "failed") | {"cpu": "unknown", "disk_promises": "warning"}, told(found)
    assert found["memory"]["needed"] == "256 MiB" and "MiB free on compute2" in found["memory"]["found"]
    assert all(found[check]["remedy"] for check in failed)
    assert results(findings(lab, server)) == {}


def test_a_destination_with_an_older_qemu_is_refused(lab: Lab, server: Any) -> None:
    """libvirt believes what it noted of its QEMU: that it is 6.2, without the machine types of 7.x."""
    keep, restore = f"cp -a {CAPABILITIES} /run/capabilities", f"rm -r {CAPABILITIES}; mv /run/capabilities {CAPABILITIES}"
    edits = ("s,<version>7.*</version>,<version>6002000</version>,", "s/name='pc-i440fx-7[^']*'/name='pc-of-6.2'/")
    older = f'sed -i -e "{edits[0]}" -e "{edits[1]}" {CAPABILITIES}/*.xml'
    flags = "VIR_MIGRATE_PEER2PEER,VIR_MIGRATE_LIVE,VIR_MIGRATE_NON_SHARED_INC,VIR_MIGRATE_PARALLEL,VIR_MIGRATE_ZEROCOPY"
    options = {"libvirt.block_migration_flag": flags, "libvirt.live_migration_parallel_connections": "2"}

    with configured(lab, SOURCE, "compute", options), libvirtd_after(lab, f"{keep}; {older}", restore):
        found = findings(lab, server)

    failed = dict.fromkeys(("hypervisor", "machine", "versions"), "failed")
    assert results(found) == failed | {"cpu": "unknown"}, told(found)
    assert "to 6.2.0 is a step back" in found["hypervisor"]["found"]
    assert "machine type pc-i440fx-7" in found["machine"]["found"]
    assert "VIR_MIGRATE_ZEROCOPY needs libvirt 8.5 and QEMU 7.1" in found["versions"]["found"]
    assert results(findings(lab, server)) == {}


def test_a_cpu_model_that_the_destinations_libvirt_does_not_know_is_refused(lab: Lab, server: Any) -> None:
    without = f"cp -r {CPU_MAP} /run/cpu_map; sed -i /x86_qemu64.xml/d /run/cpu_map/index.xml; mount --bind /run/cpu_map {CPU_MAP}"

    with libvirtd_after(lab, without, f"umount {CPU_MAP}; rm -r /run/cpu_map"):
        found = findings(lab, server)

    assert results(found) == {"cpu": "failed"}
    assert "Unknown CPU model qemu64" in found["cpu"]["found"]


@contextlib.contextmanager
def edited(lab: Lab, server: Any, edit: Callable[[str], str]) -> Iterator[None]:
    """The server is started from a domain that its administrator edited."""
    before = lab.run(SOURCE, ["virsh", "dumpxml", "--inactive", server.domain]).stdout

    def start_from(xml: str) -> None:
        lab.run(SOURCE, ["virsh", "destroy", server.domain])
        try:
            lab.run(SOURCE, ["virsh", "define", "/dev/stdin"], input=xml)
        finally:
            lab.run(SOURCE, ["virsh", "start", server.domain])

    start_from(edit(before))
    try:
        yield
    finally:
        start_from(before)
        server.guest.wait(90)


def test_firmware_and_features_that_the_destination_lacks_are_refused(lab: Lab, server: Any) -> None:
    """A guest whose processor is promised by nobody (check='none'), and whose firmware is a file of its source."""
    firmware = f"{INSTANCES}/firmware.bin"

    def edit(xml: str) -> str:
        cpu = "<cpu mode='custom' match='exact' check='none'><model fallback='forbid'>Skylake-Server</model></cpu>"
        xml = re.sub("<cpu .*</cpu>", cpu, xml, flags=re.DOTALL)
        return xml.replace("</type>", f"</type><loader type='rom'>{firmware}</loader>", 1)

    with sh(lab, SOURCE, f"cp /usr/share/seabios/bios-256k.bin {firmware}", f"rm {firmware}"), edited(lab, server, edit):
        found = findings(lab, server)

    assert results(found) == {"cpu": "failed", "machine": "failed"}, told(found)
    assert found["cpu"]["found"] == "CPU Skylake-Server cannot be had on compute2: the hypervisor lacks features of it"
    assert found["machine"]["found"] == f"compute2 lacks {firmware}"


# --- hosts that are set up otherwise, or out of step ----------------------------------------------------------------------


def test_limits_of_the_configuration_are_kept(lab: Lab, server: Any) -> None:
    """Memory that is kept back, and disk that may not be promised beyond what there is."""
    options = {"DEFAULT.reserved_host_memory_mb": str(2**30), "DEFAULT.enforce_disk_allocation_ratio": "true"}

    with configured(lab, "controller", "conductor", options), sh(lab, DESTINATION, *SMALL_DISK):
        found = findings(lab, server)

    assert results(found) == {"memory": "failed", "disk_promises": "failed"}, told(found)
    assert "0 MiB free on compute2" in found["memory"]["found"]
    assert "disk_allocation_ratio allows 0 GiB" in found["disk_promises"]["found"]


# --- hosts that are silent ------------------------------------------------------------------------------------------------

BOUND_S = 25.0
"""A report is there by then, whoever is silent: 10 s for the answer and 5 for its way, and what was asked before."""
NEED_IT = {
    "destination_service",
    "memory",
    "hypervisor",
    "names",
    "macs",
    "networks",
    "cpu",
    "machine",
    "ports",
    "disk",
}


@pytest.mark.parametrize("part", ["compute", "libvirtd"])
def test_a_host_that_hangs_is_unknown_in_bounded_time_and_harmed_by_nothing(lab: Lab, server: Any, part: str) -> None:
    """It has just reported, so that it counts as up; then it, or its hypervisor, answers nobody."""
    assert results(findings(lab, server)) == {}
    lab.kill(DESTINATION, part, signal.SIGSTOP)
    try:
        started = time.monotonic()
        found = findings(lab, server, timeout_s=120)
        seconds = time.monotonic() - started
    finally:
        lab.kill(DESTINATION, part, signal.SIGCONT)

    unknown = {check for check, result in results(found).items() if result == "unknown"}
    assert unknown >= NEED_IT, told(found)
    if part == "compute":
        assert set(results(found).values()) == {"unknown"}, told(found)
        assert found["memory"]["found"] and "did not answer" in found["destination_service"]["found"], told(found)
    assert {found[check]["result"] for check in ("snapshots", "jobs", "devices", "chain", "source_service")} == {"passed"}
    assert seconds < BOUND_S

    def passes() -> bool:
        found.update(findings(lab, server, timeout_s=120))
        return results(found) == {}

    try:
        wait_until(passes, 60, "everything passes again")
    except LabError:
        pytest.fail(told(found))
    assert machine.daemon_runs(lab.layout, lab.machine(DESTINATION), "compute"), "the compute service died of it"
    assert server.guest.status()
