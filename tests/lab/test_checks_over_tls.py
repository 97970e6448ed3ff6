"""Hosts that encrypt with QEMU's TLS: certificates that QEMU would refuse are found, and a clock that is behind, too; a guest
moves, and the base that only its source has.
"""

from __future__ import annotations

import pathlib
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pki
import pytest
from worlds import DESTINATION, INSTANCES, SOURCE, configured, findings, results, sh, told

from labkit import foreign, guest, scenario
from labkit.commands import run
from labkit.lab import Lab

HOSTS = (SOURCE, DESTINATION)
MINUTE_BEHIND = r"""
#define _GNU_SOURCE
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
int clock_gettime(clockid_t id, struct timespec *now) {
    int result = syscall(SYS_clock_gettime, id, now);
    if (result == 0 && id == CLOCK_REALTIME) now->tv_sec -= 60;
    return result;
}
"""
"""A clock is the kernel's, and one for all hosts of the laboratory: so it is the service that reads it wrong."""


@pytest.fixture(scope="module")
def encrypting(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Both hosts encrypt with QEMU's TLS; the destination's service reads its clock a minute behind."""
    folder = tmp_path_factory.mktemp("clock")
    (folder / "clock.c").write_text(MINUTE_BEHIND)
    run(["gcc", "-shared", "-fPIC", "-o", str(folder / "clock.so"), str(folder / "clock.c")])
    options = {"libvirt.live_migration_with_native_tls": "true"}
    with (
        configured(lab, SOURCE, "compute", options),
        configured(lab, DESTINATION, "compute", options, {"LD_PRELOAD": str(folder / "clock.so")}),
    ):
        yield


def of(lab: Lab, host: str) -> pathlib.Path:
    """The host's /etc/pki/qemu."""
    return lab.machine(host).folder / "pki/qemu"


def swap_keys(lab: Lab) -> None:
    shutil.copy(of(lab, DESTINATION) / "client-key.pem", of(lab, DESTINATION) / "server-key.pem")


def other_authority(lab: Lab) -> None:
    pki.equip(of(lab, DESTINATION), pki.Authority(), DESTINATION)


def server_with(**values: Any) -> Callable[[Lab], None]:
    return lambda lab: pki.equip(of(lab, DESTINATION), AUTHORITY, DESTINATION, **values)


def without(host: str, file: str) -> Callable[[Lab], None]:
    return lambda lab: (of(lab, host) / file).unlink()


AUTHORITY = pki.Authority()
CERTIFICATES: list[tuple[Callable[[Lab], None], str]] = [
    (without(SOURCE, "ca-cert.pem"), "compute1: /etc/pki/qemu/ca-cert.pem: it is missing"),
    (without(SOURCE, "client-cert.pem"), "compute1: /etc/pki/qemu/client-cert.pem: it is missing"),
    (without(DESTINATION, "server-key.pem"), "its key /etc/pki/qemu/server-key.pem is missing"),
    (swap_keys, "the key /etc/pki/qemu/server-key.pem does not belong to it"),
    (other_authority, "compute2: /etc/pki/qemu/server-cert.pem: compute1 does not know the authority that signed it"),
    (server_with(days=-3.0, since_days=-9.0), "server-cert.pem: it expired 3 days ago"),
    (server_with(names=("compute9",)), "it is good for compute9, not for compute2"),
    (server_with(names=("192.0.2.2",)), "it is good for 192.0.2.2, not for compute2"),
]


@pytest.mark.usefixtures("encrypting")
def test_certificates_that_qemu_would_refuse_are_found(lab: Lab, server: Any) -> None:
    for breaks, words in CERTIFICATES:
        for host in HOSTS:
            pki.equip(of(lab, host), AUTHORITY, host)
        breaks(lab)
        found = findings(lab, server)
        assert (found["tls"]["result"], words in found["tls"]["found"]) == ("failed", True), (words, found["tls"])


@pytest.mark.usefixtures("encrypting")
def test_a_good_pair_over_tls_passes_and_a_clock_that_is_behind_is_told(lab: Lab, server: Any) -> None:
    for host in HOSTS:
        pki.equip(of(lab, host), AUTHORITY, host)
    for host, unused in ((SOURCE, "server-cert.pem"), (DESTINATION, "client-cert.pem")):
        (of(lab, host) / unused).unlink()

    found = findings(lab, server)

    assert results(found) == {"clocks": "warning", "versions": "warning"}, told(found)
    assert found["tls"]["found"] == "4 certificates are valid"
    assert "compute2 is 60" in found["clocks"]["found"] and "behind" in found["clocks"]["found"]
    assert "GnuTLS" in found["versions"]["found"]


@pytest.mark.usefixtures("encrypting")
def test_a_guest_and_its_base_move_over_tls(lab: Lab, client: Any, boot: Callable[..., Any]) -> None:
    for host in HOSTS:
        pki.equip(of(lab, host), AUTHORITY, host)
    booted = boot(name="encrypted")
    before = booted.guest.status()
    image, bases = foreign.image_path(lab), f"{INSTANCES}/_base"
    with sh(lab, DESTINATION, f"rm -f {bases}/*; mv {image} {image}.gone", f"mv {image}.gone {image}"):
        lab.nova("live-migration", "--block-migrate", booted.name, DESTINATION)
        ended = scenario.wait_for_end(client, booted.id, 120)

    assert ended["status"] == "completed", scenario.reasons(client, booted.id)
    (base,) = foreign.files(lab, DESTINATION, bases)
    sums = {lab.run(host, ["sha256sum", base]).stdout.split()[0] for host in HOSTS}
    assert len(sums) == 1, "it was brought whole"
    assert guest.uptime_went_on(before, booted.guest.wait())
    assert booted.guest.verify().is_whole
