"""Each check, passing and failing, and the report they make together."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from nova_blockmigrate import exceptions
from nova_blockmigrate.conductor.preflight import CHECKS, Facts, HostFacts, evaluate, registry
from nova_blockmigrate.objects import (
    CheckResult,
    DiskLayer,
    Finding,
    GuestDescription,
    GuestDisk,
    HostResources,
    PowerState,
)

LAYER = DiskLayer("/d/disk", "qcow2", 1024**3, 100 * 1024**2)
GUEST = GuestDescription(
    "u", "instance-00000001", PowerState.RUNNING, 256, 1, (GuestDisk("vda", "disk", "file", False, (LAYER,)),), True, "<domain/>"
)


def resources(host: str, **changes: Any) -> HostResources:
    values = HostResources(host, host, "QEMU", 7_002_022, 9_000_000, "10.0.0.1", 2, 0, 4096, 256, 10, 0, 10 * 1024**3, 1, "{}")
    return dataclasses.replace(values, **changes)


SOURCE = HostFacts("compute1", service_up=True, resources=resources("compute1"))
DESTINATION = HostFacts("compute2", service_up=True, resources=resources("compute2"))
HEALTHY = Facts("u", "active", 256, "admin", "true", SOURCE, DESTINATION, GUEST)


def destination(**changes: Any) -> Facts:
    return dataclasses.replace(HEALTHY, destination=dataclasses.replace(DESTINATION, **changes))


def source(**changes: Any) -> Facts:
    return dataclasses.replace(HEALTHY, source=dataclasses.replace(SOURCE, **changes))


def finding(facts: Facts, check: str) -> Finding:
    return next(one for one in evaluate(facts).findings if one.check == check)


def test_a_healthy_pair_passes_every_check() -> None:
    report = evaluate(HEALTHY)

    assert [one.check for one in report.findings] == list(CHECKS)
    assert {one.result for one in report.findings} == {CheckResult.PASSED}
    assert report.error() is None


FAILURES = [
    ("permission", dataclasses.replace(HEALTHY, requested_by=""), exceptions.Forbidden),
    ("parameters", dataclasses.replace(HEALTHY, block_migration="false"), exceptions.ValidationError),
    ("destination_exists", destination(exists=False), exceptions.ComputeHostNotFound),
    ("destination_is_not_source", destination(name="compute1"), exceptions.UnableToMigrateToSelf),
    ("guest_running", dataclasses.replace(HEALTHY, vm_state="stopped"), exceptions.InstanceInvalidState),
    (
        "guest_running",
        dataclasses.replace(HEALTHY, guest=dataclasses.replace(GUEST, power_state=PowerState.SHUTDOWN)),
        exceptions.InstanceInvalidState,
    ),
    ("source_service", source(service_up=False), exceptions.ComputeServiceUnavailable),
    ("destination_service", destination(service_up=False), exceptions.ComputeServiceUnavailable),
    ("destination_service", destination(disabled=True), exceptions.ComputeServiceUnavailable),
    ("memory", destination(resources=resources("compute2", memory_used_mib=3841)), exceptions.MigrationPreCheckError),
    ("memory", destination(claimed_memory_mib=3585), exceptions.MigrationPreCheckError),
    ("memory", destination(reserved_memory_mib=3585), exceptions.MigrationPreCheckError),
    ("hypervisor", destination(resources=resources("compute2", hypervisor_type="Xen")), exceptions.MigrationPreCheckError),
    ("hypervisor", destination(resources=resources("compute2", hypervisor_version=6_002_000)), exceptions.MigrationPreCheckError),
    ("disk", destination(resources=resources("compute2", disk_free_bytes=99 * 1024**2)), exceptions.MigrationPreCheckError),
    ("acceptable", destination(problems=("bridge br100 does not exist",)), exceptions.MigrationPreCheckError),
]


@pytest.mark.parametrize(("check", "facts", "error"), FAILURES)
def test_each_check_fails_by_itself_and_says_what_was_found(
    check: str, facts: Facts, error: type[exceptions.BlockMigrateError]
) -> None:
    report = evaluate(facts)

    found = finding(facts, check)
    assert found.result is CheckResult.FAILED
    assert found.found
    assert isinstance(report.error(), error)
    assert found.found in report.reason


def test_every_check_is_made_to_fail_by_the_table_above() -> None:
    assert {check for check, _, _ in FAILURES} == set(CHECKS)


def test_a_host_that_says_nothing_makes_its_checks_unknown_and_forbids_the_migration() -> None:
    facts = destination(resources=None, error="compute2 did not answer")

    assert finding(facts, "memory").result is CheckResult.UNKNOWN
    assert finding(facts, "destination_service").result is CheckResult.UNKNOWN
    assert evaluate(facts).error() is not None


def test_a_failure_hides_no_other() -> None:
    facts = destination(disabled=True, claimed_memory_mib=4096)

    assert {one.check for one in evaluate(facts).obstacles} == {"destination_service", "memory"}


def test_a_check_that_crashes_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(facts: Facts) -> registry.Answer:
        raise RuntimeError("broken")

    monkeypatch.setitem(CHECKS, "memory", dataclasses.replace(CHECKS["memory"], ask=crash))

    found = finding(HEALTHY, "memory")
    assert found.result is CheckResult.UNKNOWN
    assert "broken" in found.found
