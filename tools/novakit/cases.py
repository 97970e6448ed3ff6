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
OURS = ("ours",)

Migration = dict[str, Any]
Breaking = Callable[[Cloud, Server], Migration]
"""Starts a migration, breaks something and brings it back; returns the migration that is judged."""


@dataclass(frozen=True)
class Case:
    name: str
    play: Breaking
    expected: Expected
    drivers: tuple[str, ...] = ("nova", "ours")
    """Those that it can be played with."""
    on_network: bool = False
    """Its guest can be told something."""


def user_aborts(cloud: Cloud, server: Server) -> Migration:
    migration = cloud.copy_slowly(server)
    cloud.abort(server, migration)
    return migration


def guest_powers_off(cloud: Cloud, server: Server) -> Migration:
    migration = cloud.copy_slowly(server)
    cloud.lab.run(SOURCE, ["virsh", "destroy", server.domain])
    return migration


def guest_resets(cloud: Cloud, server: Server) -> Migration:
    """By itself: libvirt refuses to reset a guest that it moves."""
    cloud.guest(server).wait(PATIENCE_S)
    migration = cloud.copy_slowly(server)
    cloud.guest(server).order("reboot")
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
    return first, cloud.wait_for_migration(server, "queued")


def source_compute_killed_at(point: str, away_s: float = 0) -> Breaking:
    """With our driver only: Nova's has no such points, and its case is not played."""

    def play(cloud: Cloud, server: Server) -> Migration:
        cloud.kill_compute_at(SOURCE, point, lambda: cloud.migrate(server))
        migration = cloud.migration(server)
        cloud.pass_time(away_s)
        cloud.start_compute(SOURCE)
        cloud.wait_until_ready(SOURCE)
        return migration

    return play


def destination_disk_fills(cloud: Cloud, server: Server) -> Migration:
    """What the hosts' services clear up lies on the small file system, so it goes when that is done; a file that somebody has open
    still would only keep its blocks (a lazy unmount), and hide what was left."""
    cloud.lab.run(DESTINATION, ["mount", "-t", "tmpfs", "-o", f"size={SMALL_MIB}m", "faults", INSTANCES])
    try:
        migration = cloud.copy_slowly(server)
        cloud.lab.run(DESTINATION, ["sh", "-c", f"cat /dev/zero > {INSTANCES}/ballast"], check=False)
        cloud.hurry()
        wait_until(lambda: cloud.show(server)[scenario.TASK] is None, PATIENCE_S, "the migration is over", interval_s=0.5)
        with contextlib.suppress(LabError):  # what stays is found below
            wait_until(
                lambda: not cloud.leftovers(server.id, DESTINATION), LONG_S, "the destination has cleared up", interval_s=0.5
            )
        left = cloud.lab.run(DESTINATION, ["find", server.folder, "-type", "f"], check=False).stdout.split()
    finally:
        cloud.lab.run(DESTINATION, ["umount", "-l", INSTANCES])
    for path in left:  # so that the judge sees it
        cloud.lab.run(DESTINATION, ["mkdir", "-p", server.folder])
        cloud.lab.run(DESTINATION, ["touch", path], check=False)
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
    Case("guest is reset", guest_resets, MOVED, on_network=True),
    Case("source's nova-compute stopped in mid-copy", source_compute_stopped, EITHER),
    Case("destination's disk is full", destination_disk_fills, STAYED),
    Case("source's nova-compute killed when its guest is fenced", source_compute_killed_at("handover.fenced"), MOVED, OURS),
    Case("source's nova-compute killed when its guest has moved", source_compute_killed_at("transfer.kept", SHORT_S), MOVED, OURS),
    Case("source's nova-compute killed before its disk is deleted", source_compute_killed_at("clean.proved"), MOVED, OURS),
)
