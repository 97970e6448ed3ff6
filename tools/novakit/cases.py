"""The table: what is broken, how, and how it must end. A case is played on a fresh server that has a disk of its own on the source.

Each breaks at a point that is awaited, never at a time that is guessed. The first ten are those of upstream that were broken first.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from labkit import libvirt_host, nova, postgres, rabbitmq, scenario
from labkit.commands import wait_until
from labkit.errors import LabError
from labkit.layout import INSTANCES
from novakit.cloud import DESTINATION, PATIENCE_S, SOURCE, Cloud, Server
from novakit.judge import CANCELLED, COMPLETED, FAILED, Expected

OUTAGE_S, CUT_S, LONG_S, SHORT_S = 80, 40, 60, 10
SMALL_MIB = 120
"""A file system on which the guest's disk begins to fit."""
MOVED = Expected()
STAYED = Expected((FAILED,))
EITHER = Expected((FAILED, COMPLETED))

Migration = dict[str, Any]
Breaking = Callable[[Cloud, Server], Migration]
"""Starts a migration, breaks something and brings it back; returns the migration that is judged."""


@dataclass(frozen=True)
class Case:
    name: str
    play: Breaking
    expected: Expected


def user_aborts(cloud: Cloud, server: Server) -> Migration:
    migration = cloud.copy_slowly(server)
    cloud.abort(server, migration)
    return migration


def guest_powers_off(cloud: Cloud, server: Server) -> Migration:
    migration = cloud.copy_slowly(server)
    cloud.lab.run(SOURCE, ["virsh", "destroy", server.domain])
    return migration


def guest_resets(cloud: Cloud, server: Server) -> Migration:
    migration = cloud.copy_slowly(server)
    cloud.lab.run(SOURCE, ["virsh", "reset", server.domain])
    return migration


def destination_qemu_dies(cloud: Cloud, server: Server) -> Migration:
    migration = cloud.copy_slowly(server)
    cloud.kill_qemu(server, DESTINATION)
    return migration


def network_is_cut(cloud: Cloud, server: Server) -> Migration:
    migration = cloud.copy_slowly(server)
    cloud.lab.cut(SOURCE)
    cloud.pass_time(CUT_S)
    cloud.lab.heal(SOURCE)
    return migration


def source_compute_back_at_once(cloud: Cloud, server: Server) -> Migration:
    migration = cloud.copy_slowly(server)
    cloud.kill_compute(SOURCE)
    cloud.start_compute(SOURCE)
    cloud.wait_until_ready(SOURCE)
    return migration


def source_compute_away(cloud: Cloud, server: Server) -> Migration:
    migration = cloud.copy_slowly(server)
    cloud.kill_compute(SOURCE)
    cloud.hurry()
    cloud.pass_time(LONG_S)
    cloud.start_compute(SOURCE)
    return migration


def source_compute_stopped(cloud: Cloud, server: Server) -> Migration:
    """In good order, as systemd does it, but with less patience."""
    migration = cloud.copy_slowly(server)
    cloud.lab.stop(SOURCE, nova.COMPUTE, timeout_s=SHORT_S)
    cloud.start_compute(SOURCE)
    cloud.wait_until_ready(SOURCE)
    return migration


def destination_compute_killed(cloud: Cloud, server: Server) -> Migration:
    migration = cloud.copy_slowly(server)
    cloud.kill_compute(DESTINATION)
    cloud.hurry()
    cloud.pass_time(SHORT_S)
    cloud.start_compute(DESTINATION)
    return migration


def away(daemon: str, seconds: float) -> Breaking:
    def play(cloud: Cloud, server: Server) -> Migration:
        migration = cloud.copy_slowly(server)
        cloud.kill("controller", daemon)
        cloud.hurry()
        cloud.pass_time(seconds)
        cloud.lab.start("controller", daemon)
        return migration

    return play


def libvirtd_killed(host: str) -> Breaking:
    def play(cloud: Cloud, server: Server) -> Migration:
        migration = cloud.copy_slowly(server)
        cloud.kill(host, libvirt_host.DAEMON)
        cloud.lab.start(host, libvirt_host.DAEMON)
        return migration

    return play


def source_compute_killed_while_queued(cloud: Cloud, server: Server) -> Migration:
    _first, migration = _one_behind_another(cloud, server)
    cloud.kill_compute(SOURCE)
    cloud.start_compute(SOURCE)
    cloud.wait_until_ready(SOURCE)
    return migration


def source_compute_killed_while_preparing(cloud: Cloud, server: Server) -> Migration:
    """The destination is held still in the midst of it, so that its answer finds nobody."""
    first, migration = _one_behind_another(cloud, server)
    directory = cloud.lab.root(DESTINATION) / server.folder.lstrip("/")
    cloud.abort(first, cloud.migration(first))
    wait_until(directory.exists, PATIENCE_S, "the destination prepares", interval_s=0.002)
    cloud.lab.kill(DESTINATION, nova.COMPUTE, signal.SIGSTOP)
    try:
        cloud.kill_compute(SOURCE)
    finally:
        cloud.lab.kill(DESTINATION, nova.COMPUTE, signal.SIGCONT)
    cloud.start_compute(SOURCE)
    cloud.wait_until_ready(SOURCE)
    return migration


def _one_behind_another(cloud: Cloud, server: Server) -> tuple[Server, Migration]:
    """Another server's migration runs, and the server's waits for it: Nova lets one at a time leave a host."""
    first = cloud.boot("first")
    cloud.copy_slowly(first)
    cloud.migrate(server)
    _wait_for_status(cloud, server, "queued")
    return first, cloud.migration(server)


def _wait_for_status(cloud: Cloud, server: Server, status: str) -> None:
    def reached() -> bool:
        with contextlib.suppress(LabError):  # a request that was accepted has no migration yet
            return bool(cloud.migration(server)["status"] == status)
        return False

    wait_until(reached, PATIENCE_S, f"migration is {status}", interval_s=0.1)


def destination_disk_fills(cloud: Cloud, server: Server) -> Migration:
    cloud.lab.run(DESTINATION, ["mount", "-t", "tmpfs", "-o", f"size={SMALL_MIB}m", "faults", INSTANCES])
    try:
        migration = cloud.copy_slowly(server)
        cloud.lab.run(DESTINATION, ["sh", "-c", f"cat /dev/zero > {INSTANCES}/ballast"], check=False)
        cloud.hurry()
        wait_until(lambda: cloud.show(server)[scenario.TASK] is None, PATIENCE_S, "the migration is over", interval_s=0.5)
    finally:
        cloud.lab.run(DESTINATION, ["umount", "-l", INSTANCES])
    return migration


CASES = (
    Case("user aborts", user_aborts, Expected((CANCELLED,))),
    Case("guest powers off", guest_powers_off, Expected((FAILED,), "SHUTOFF")),
    Case("destination's QEMU dies", destination_qemu_dies, STAYED),
    Case("network cut for 40 s", network_is_cut, STAYED),
    Case("source's nova-compute killed, back at once", source_compute_back_at_once, MOVED),
    Case("source's nova-compute killed, away for a minute", source_compute_away, MOVED),
    Case("destination's nova-compute killed", destination_compute_killed, MOVED),
    Case("conductor killed", away(nova.CONDUCTOR, SHORT_S), MOVED),
    Case("RabbitMQ away for 80 s", away(rabbitmq.DAEMON, OUTAGE_S), MOVED),
    Case("database away for 80 s", away(postgres.DAEMON, OUTAGE_S), MOVED),
    Case("source's nova-compute killed while it is queued", source_compute_killed_while_queued, STAYED),
    Case("source's nova-compute killed while it is prepared", source_compute_killed_while_preparing, STAYED),
    Case("source's libvirtd killed", libvirtd_killed(SOURCE), EITHER),
    Case("destination's libvirtd killed", libvirtd_killed(DESTINATION), EITHER),
    Case("guest is reset", guest_resets, MOVED),
    Case("source's nova-compute stopped in mid-copy", source_compute_stopped, EITHER),
    Case("destination's disk is full", destination_disk_fills, STAYED),
)
