"""Each check, passing and failing, and the report they make together."""

from __future__ import annotations

import dataclasses
import pathlib
import time
from typing import Any

import pytest

from nova_blockmigrate import exceptions
from nova_blockmigrate.conductor.preflight import CHECKS, Facts, HostFacts, evaluate, registry, table
from nova_blockmigrate.conductor.preflight.versions import Pair, traps, version
from nova_blockmigrate.objects import (
    CheckResult,
    DiskLayer,
    Finding,
    GuestDescription,
    GuestDisk,
    HostResources,
    PowerState,
)
from nova_blockmigrate.survey import Certificate, CertificateRole, GuestSurvey, HostSurvey, Reception, Route, TlsUser

LAYER = DiskLayer("/d/disk", "qcow2", 1024**3, 100 * 1024**2)
GUEST = GuestDescription(
    "u", "instance-00000001", PowerState.RUNNING, 256, 1, (GuestDisk("vda", "disk", "file", False, (LAYER,)),), True, "<domain/>"
)


def resources(host: str, **changes: Any) -> HostResources:
    values = HostResources(host, host, "QEMU", 7_002_022, 9_000_000, "10.0.0.1", 2, 0, 4096, 256, 10, 0, 10 * 1024**3, 1, "{}")
    return dataclasses.replace(values, **changes)


def survey(host: str, **changes: Any) -> HostSurvey:
    values = HostSurvey(f"uuid of {host}", 1e9, listening_port=49215, flags=("VIR_MIGRATE_NON_SHARED_INC",))
    return dataclasses.replace(values, **changes)


SOURCE = HostFacts("compute1", service_up=True, resources=resources("compute1"), survey=survey("compute1"), clock_ahead_s=0.0)
DESTINATION = HostFacts("compute2", service_up=True, resources=resources("compute2"), survey=survey("compute2"), clock_ahead_s=0.1)
SURVEY = GuestSurvey(blockers=(), inodes={"/d/disk": 7})
ROUTE = Route("qemu+tcp://compute2/system", peer_uuid="uuid of compute2", port=49215)
HEALTHY = Facts("u", "active", 256, "admin", "true", SOURCE, DESTINATION, GUEST, SURVEY, Reception(), ROUTE, disk_gib=1)
NOW = time.time()
DAY = 86400.0


def destination(**changes: Any) -> Facts:
    return dataclasses.replace(HEALTHY, destination=dataclasses.replace(DESTINATION, **changes))


def source(**changes: Any) -> Facts:
    return dataclasses.replace(HEALTHY, source=dataclasses.replace(SOURCE, **changes))


def guest(**changes: Any) -> Facts:
    return dataclasses.replace(HEALTHY, guest_survey=dataclasses.replace(SURVEY, **changes))


def described(**changes: Any) -> Facts:
    """With a disk that is described otherwise."""
    disks = (dataclasses.replace(GUEST.disks[0], **changes),)
    return dataclasses.replace(HEALTHY, guest=dataclasses.replace(GUEST, disks=disks))


def reception(**changes: Any) -> Facts:
    return dataclasses.replace(HEALTHY, reception=Reception(**changes))


def route(**changes: Any) -> Facts:
    return dataclasses.replace(HEALTHY, route=dataclasses.replace(ROUTE, **changes))


ROLES = (CertificateRole.AUTHORITY, CertificateRole.SERVER, CertificateRole.CLIENT)


def certificates(host: str, changed: CertificateRole | None = None, **changes: Any) -> tuple[Certificate, ...]:
    """A healthy set, but for one."""
    good = Certificate("", "", (host,), NOW - DAY, NOW + 365 * DAY, signer="authority", authorities=("authority",))
    every = [dataclasses.replace(good, role=role, path=f"/etc/pki/qemu/{role}-cert.pem") for role in ROLES]
    return tuple(dataclasses.replace(one, **changes) if one.role is changed else one for one in every)


def with_tls(here: tuple[Certificate, ...], there: tuple[Certificate, ...]) -> Facts:
    """The source encrypts; whether the destination would, too, makes no difference."""
    facts = destination(survey=survey("compute2", certificates=there))
    sending = survey("compute1", tls_for=(TlsUser.QEMU,), certificates=here)
    return dataclasses.replace(facts, source=dataclasses.replace(SOURCE, survey=sending))


def certificate(role: CertificateRole = CertificateRole.SERVER, **changes: Any) -> Facts:
    """One of the destination's certificates is as said."""
    return with_tls(certificates("compute1"), certificates("compute2", role, **changes))


def client_certificate(**changes: Any) -> Facts:
    return with_tls(certificates("compute1", CertificateRole.CLIENT, **changes), certificates("compute2"))


def chain(*formats: str, recorded: tuple[str, ...], readonly: bool = False, read_as: dict[str, str] | None = None) -> Facts:
    """A disk of files /0, /1, … of these formats; `recorded`: what each but the last says of the next."""
    layers = tuple(
        DiskLayer(f"/{index}", format, 1024**2, 0, sha256="hash", backing_format=below)
        for index, (format, below) in enumerate(zip(formats, (*recorded, ""), strict=True))
    )
    described = dataclasses.replace(GUEST, disks=(GuestDisk("vda", "disk", "file", readonly, layers),))
    return dataclasses.replace(
        HEALTHY, guest=described, guest_survey=dataclasses.replace(SURVEY, base_formats=read_as or {}), reception=Reception()
    )


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
    ("hypervisor", destination(resources=resources("compute2", hypervisor_version=0)), exceptions.MigrationPreCheckError),
    ("disk", destination(resources=resources("compute2", disk_free_bytes=99 * 1024**2)), exceptions.MigrationPreCheckError),
]

OWN_CHECKS = [
    ("disk", destination(claimed_disk_bytes=10 * 1024**3), "promised to others"),
    ("disk", destination(reserved_disk_mib=10 * 1024), "0 MiB free"),
    ("disk", reception(missing_base_bytes=11 * 1024**3), "MiB free"),
    ("chain", guest(chain_problem="could not open /d/base"), "/d/base"),
    ("layout", described(problem="/d/disk is encrypted"), "vda: /d/disk is encrypted"),
    ("snapshots", guest(snapshots=("before-upgrade",)), "before-upgrade"),
    ("jobs", guest(jobs=("block copy of vda",)), "block copy of vda"),
    ("devices", guest(immovable=("a device of the host is passed through (hostdev hostdev0)",)), "hostdev0"),
    ("blockers", guest(blockers=("The vdi format does not support live migration",)), "vdi"),
    ("directory", destination(survey=survey("compute2", directory_problem="/i is on a read-only file system")), "read-only"),
    ("host_networks", reception(libvirt_networks_missing=("default",)), "default"),
    ("host_devices", reception(devices_missing=("/sys/class/net/eth7",)), "eth7"),
    ("not_shared", reception(files_taken={"/d/disk": 7}), "/d/disk is the same file"),
    ("files", reception(files_taken={"/d/disk": 8}), "/d/disk"),
    ("names", reception(names_taken=("another domain named instance-00000001",)), "instance-00000001"),
    ("macs", reception(macs_taken=("fa:16:3e:00:00:01 (domain x)",)), "fa:16:3e:00:00:01"),
    ("networks", reception(networks_missing=("bridge br100 does not exist",)), "br100"),
    ("cpu", reception(cpu_problem="the hypervisor lacks features of it"), "lacks features"),
    (
        "post_copy",
        dataclasses.replace(
            source(survey=survey("compute1", flags=("VIR_MIGRATE_NON_SHARED_INC", "VIR_MIGRATE_POSTCOPY"))),
            destination=dataclasses.replace(DESTINATION, survey=survey("compute2", post_copy_problem="it has no userfaultfd")),
        ),
        "no userfaultfd",
    ),
    ("machine", reception(machine_problem="machine type pc-i440fx-12.0 is unknown"), "pc-i440fx-12.0"),
    ("machine", reception(firmware_missing=("/usr/share/OVMF/OVMF_CODE.fd",)), "OVMF_CODE"),
    ("secrets", reception(secrets_missing=("5c2e",)), "5c2e"),
    ("server_group", dataclasses.replace(HEALTHY, group="web", group_refusal="1 of server group web are there"), "group web"),
    ("volumes", dataclasses.replace(HEALTHY, volumes=("v1",), volume_problems=("volume v1 is detaching",)), "v1 is detaching"),
    (
        "volumes",
        dataclasses.replace(reception(volumes_unreachable=("192.0.2.9 port 3260: no answer",)), volumes=("v1",)),
        "compute2 does not reach 192.0.2.9 port 3260",
    ),
    ("uri", route(uri_problem="connection refused"), "connection refused"),
    ("uri", route(peer_uuid="uuid of compute1"), "to itself"),
    ("uri", route(peer_uuid="uuid of a third"), "uuid of a third"),
    ("ports", route(port_problem="no answer within 1 s"), "no answer"),
    ("ports", destination(survey=survey("compute2", listening_problem="no port is free")), "no port is free"),
    ("tls", certificate(problem="it is missing"), "it is missing"),
    ("tls", certificate(not_after_s=NOW - 2 * DAY), "expired 2 days ago"),
    ("tls", certificate(not_before_s=NOW + DAY), "not valid yet"),
    ("tls", certificate(names=("compute9", "*.example.org", "192.0.2.2")), "not for compute2"),
    ("tls", certificate(signer="another"), "compute1 does not know the authority"),
    ("tls", certificate(CertificateRole.AUTHORITY, problem="it is missing"), "authority-cert.pem: it is missing"),
    ("tls", client_certificate(problem="it is missing"), "compute1: /etc/pki/qemu/client-cert.pem: it is missing"),
    ("tls", client_certificate(signer="another"), "compute2 does not know the authority"),
    ("formats", chain("qcow2", "qcow2", "raw", recorded=("qcow2", "raw"), read_as={"/1": "raw"}), "reads /1 as raw"),
    ("formats", chain("qcow2", "qcow2", "qcow2", "raw", recorded=("qcow2", "", "raw")), "/1 does not say that /2 is qcow2"),
    ("formats", chain("qcow2", "qcow2", "raw", recorded=("", "raw"), readonly=True), "/0 does not say that /1 is qcow2"),
    ("disk_promises", destination(promised_disk_gib=10, enforces_disk_ratio=True), "11 GiB"),
    ("versions", source(survey=survey("compute1", flags=("VIR_MIGRATE_TUNNELLED", "VIR_MIGRATE_NON_SHARED_INC"))), "tunnel"),
    ("versions", destination(resources=resources("compute2", libvirt_version=7_000_000)), "8.0"),
]
FAILURES += [(check, facts, exceptions.MigrationPreCheckError) for check, facts, _ in OWN_CHECKS]

WARNINGS = [
    ("disk_promises", destination(promised_disk_gib=10), "11 GiB"),
    ("clocks", destination(clock_ahead_s=-3.0), "compute2 is 3.0 s behind"),
    ("queue", destination(moving=1), "1 on compute2"),
    ("tls", certificate(not_after_s=NOW + 3.5 * DAY), "expires in"),
    ("tls", destination(survey=survey("compute2", tls_for=(TlsUser.QEMU,))), "in the clear"),
    ("formats", chain("qcow2", "raw", recorded=("",)), "/0 does not say that /1 is raw"),
    ("formats", chain("qcow2", "qcow2", "raw", recorded=("", "raw")), "/0 does not say that /1 is qcow2"),
    ("formats", chain("qcow2", "qcow2", "raw", recorded=("qcow2", "")), "/1 does not say that /2 is raw"),
    ("versions", destination(resources=resources("compute2", libvirt_version=8_005_000)), "9.0"),
    ("versions", source(survey=survey("compute1", flags=("VIR_MIGRATE_TLS",))), "GnuTLS"),
    (
        "versions",
        dataclasses.replace(
            source(resources=resources("compute1", hypervisor_version=10_000_000)),
            destination=dataclasses.replace(DESTINATION, resources=resources("compute2", hypervisor_version=10_000_000)),
            guest_survey=dataclasses.replace(SURVEY, expands_zeroes=True),
        ),
        "zeroes",
    ),
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


@pytest.mark.parametrize(("check", "facts", "words"), OWN_CHECKS)
def test_a_failure_names_what_is_wrong(check: str, facts: Facts, words: str) -> None:
    assert words in finding(facts, check).found


@pytest.mark.parametrize(("check", "facts", "words"), WARNINGS)
def test_a_warning_is_told_and_forbids_nothing(check: str, facts: Facts, words: str) -> None:
    found = finding(facts, check)

    assert (found.result, words in found.found) == (CheckResult.WARNING, True)
    assert found.remedy
    assert evaluate(facts).error() is None


def test_every_check_is_made_to_fail_or_to_warn_by_the_tables_above() -> None:
    assert {check for check, _, _ in [*FAILURES, *WARNINGS]} == set(CHECKS)


def test_what_cannot_be_known_is_unknown_for_every_check_that_looks_at_a_host() -> None:
    nothing = HostFacts("compute2", error="compute2 did not answer"), HostFacts("compute1", error="compute1 did not answer")
    facts = Facts("u", "active", 256, "admin", "true", nothing[1], nothing[0], volumes=("v1",))

    findings = evaluate(facts).findings
    assert {one.result for one in findings if one.where != "conductor"} <= {CheckResult.UNKNOWN, CheckResult.FAILED}
    assert all(one.found for one in findings)


@pytest.mark.parametrize(
    "facts",
    [
        certificate(),
        certificate(CertificateRole.CLIENT, problem="it is missing"),
        with_tls(certificates("compute1", CertificateRole.SERVER, problem="it is missing"), certificates("compute2")),
        with_tls(
            certificates("compute1", CertificateRole.CLIENT, problem="it is missing"),
            certificates("compute2", CertificateRole.SERVER, asks_clients=False),
        ),
    ],
    ids=["all are good", "destination is no client", "source is no server", "clients are not asked"],
)
def test_certificates_that_are_not_used_in_this_direction_are_not_judged(facts: Facts) -> None:
    assert finding(facts, "tls").result is CheckResult.PASSED


def test_a_chain_whose_formats_are_recorded_passes() -> None:
    facts = chain("qcow2", "qcow2", "raw", recorded=("qcow2", "raw"), read_as={"/1": "qcow2", "/2": "raw"})
    assert finding(facts, "formats").result is CheckResult.PASSED


def test_blockers_that_were_not_asked_for_are_no_obstacle() -> None:
    found = finding(guest(blockers=None), "blockers")

    assert (found.result, "libvirt asks" in found.found) == (CheckResult.PASSED, True)


def test_a_host_that_says_nothing_makes_its_checks_unknown_and_forbids_the_migration() -> None:
    facts = destination(resources=None, error="compute2 did not answer")

    assert finding(facts, "memory").result is CheckResult.UNKNOWN
    assert finding(facts, "destination_service").result is CheckResult.UNKNOWN
    assert evaluate(facts).error() is not None


def test_a_failure_hides_no_other() -> None:
    facts = destination(disabled=True, claimed_memory_mib=4096)

    assert {one.check for one in evaluate(facts).obstacles} == {"destination_service", "memory"}


@pytest.mark.parametrize(
    ("pair", "names"),
    [
        (Pair(version(7, 2), version(7, 2), version(9), version(9)), []),
        (Pair(version(7, 2), version(7, 2), version(8, 9), version(9)), ["libvirt-9.0"]),
        (Pair(version(7, 2), version(7, 2), version(9), version(7, 9)), ["libvirt-8.0"]),
        (Pair(version(7, 1), version(9, 2), version(9), version(9), frozenset({"PARALLEL"})), ["multifd-7.1-9.2"]),
        (Pair(version(8), version(9, 2), version(9), version(9), frozenset({"PARALLEL"})), []),
        (Pair(version(7, 1), version(9, 2), version(9), version(9)), []),
        (Pair(version(10, 1), version(10, 0), version(9), version(9), frozenset({"PARALLEL", "POSTCOPY"})), ["parallel-postcopy"]),
        (Pair(version(10, 1), version(10, 1), version(9), version(9), frozenset({"PARALLEL", "POSTCOPY"})), []),
        (Pair(version(9), version(9), version(9), version(9), expands_zeroes=True), []),
        (Pair(version(9, 1), version(9, 1), version(9), version(9), expands_zeroes=True), ["sparse-mirror"]),
        (Pair(version(10, 1), version(10, 1), version(9), version(9), expands_zeroes=True), []),
        (Pair(version(7, 0), version(7, 0), version(9), version(9), frozenset({"ZEROCOPY", "PARALLEL"})), ["zerocopy"]),
        (Pair(version(8), version(8), version(9), version(9), frozenset({"TUNNELLED", "NON_SHARED_INC"})), ["tunnelled"]),
        (Pair(version(8), version(8), version(9), version(9), frozenset({"TLS"})), ["gnutls"]),
    ],
)
def test_each_trap_of_versions_is_seen_on_its_side_of_the_boundary_only(pair: Pair, names: list[str]) -> None:
    assert [trap.name for trap in traps(pair)] == names


def test_a_check_that_crashes_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(facts: Facts) -> registry.Answer:
        raise RuntimeError("broken")

    monkeypatch.setitem(CHECKS, "memory", dataclasses.replace(CHECKS["memory"], ask=crash))

    found = finding(HEALTHY, "memory")
    assert found.result is CheckResult.UNKNOWN
    assert "broken" in found.found


def test_the_page_of_checks_is_current() -> None:
    """Else: `python -m nova_blockmigrate.conductor.preflight.table > doc/checks.rst`"""
    assert (pathlib.Path(__file__).parents[3] / "doc" / "checks.rst").read_text() == table.document()


def test_a_server_without_local_disks_moves_with_what_nova_allows() -> None:
    root = dataclasses.replace(GUEST, disks=(GuestDisk("vda", "disk", "network", False, ()),))
    asked = {
        said: CHECKS["parameters"].ask(dataclasses.replace(HEALTHY, guest=root, volumes=("v1",), block_migration=said))
        for said in ("true", "false", "auto")
    }
    assert {said: answer.result for said, answer in asked.items()} == {
        "true": CheckResult.FAILED, "false": CheckResult.PASSED, "auto": CheckResult.PASSED
    }  # fmt: skip
