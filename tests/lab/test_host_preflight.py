"""The host's own check on real hosts: healthy both ways, and each thing that was broken is named with its remedy."""

from __future__ import annotations

import functools
import json
from typing import Any

import pytest

from labkit import libvirt_host
from labkit.commands import wait_until
from labkit.services import command

LIBVIRTD_CONF = "/etc/libvirt/libvirtd.conf"


def start_libvirtd(lab: Any, host: str, asked_from: str) -> None:
    """Until it answers: it reads its configuration while it starts, and the next test changes that."""
    lab.start(host, "libvirtd")
    answers = functools.partial(libvirt_host.answers, lab.layout, lab.machine(host), asked_from=lab.machine(asked_from))
    wait_until(answers, 30, f"libvirtd of {host} answers")


def preflight(lab: Any, host: str, peer: str) -> Any:
    return lab.run(host, [command("manage"), "host", "preflight", "--peer", peer, "--json"], check=False)


def failures(done: Any) -> dict[str, str]:
    """What failed, with its remedy."""
    return {one["check"]: one["remedy"] for one in json.loads(done.stdout) if one["result"] == "failed"}


@pytest.mark.parametrize("host, peer", [("compute1", "compute2"), ("compute2", "compute1")])
def test_healthy_hosts_pass_both_ways(lab: Any, host: str, peer: str) -> None:
    done = preflight(lab, host, peer)
    assert failures(done) == {} and done.returncode == 0, done.stderr
    results = {one["check"]: one["result"] for one in json.loads(done.stdout)}
    assert {check for check, result in results.items() if result != "passed"} <= {"clock"}


def test_a_peer_whose_libvirt_is_gone_is_named_with_the_remedy(lab: Any) -> None:
    lab.stop("compute2", "libvirtd")
    try:
        from_here, over_there = preflight(lab, "compute1", "compute2"), preflight(lab, "compute2", "compute1")
    finally:
        start_libvirtd(lab, "compute2", asked_from="compute1")
    assert from_here.returncode == over_there.returncode == 1
    assert {"peer_control", "migration_uri"} == set(failures(from_here))
    assert "libvirtd-tcp.socket" in failures(from_here)["peer_control"]
    assert {"libvirt", "listening"} <= set(failures(over_there))


def test_authentication_that_asks_questions_is_named_with_the_remedy(lab: Any) -> None:
    lab.run("compute2", ["sed", "-i", 's/^auth_tcp = "none"/auth_tcp = "sasl"/', LIBVIRTD_CONF])
    try:
        done = preflight(lab, "compute2", "compute1")
    finally:
        lab.run("compute2", ["sed", "-i", 's/^auth_tcp = "sasl"/auth_tcp = "none"/', LIBVIRTD_CONF])
    assert done.returncode == 1
    assert list(failures(done)) == ["authentication"] and 'auth_tcp = "none"' in failures(done)["authentication"]


def test_an_instances_directory_that_is_read_only_is_named(lab: Any) -> None:
    path = "/var/lib/nova/instances"
    lab.run("compute2", ["mount", "-o", "remount,bind,ro", path])
    try:
        done = preflight(lab, "compute2", "compute1")
    finally:
        lab.run("compute2", ["mount", "-o", "remount,bind,rw", path])
    assert done.returncode == 1 and list(failures(done)) == ["instances"]
