"""Named points of a migration at which a service can be held still, so that fault tests can break something right there.

Off unless the environment of a service names a directory (`ENVIRONMENT_VARIABLE`) that only the service's own user may
write; then, and only then, `reached` looks for a file. Off, it costs one comparison. A point holds whoever reaches it first
after it was armed:

- `<directory>/<name>.armed` arms the point;
- who reaches it renames the file to `<name>.reached`, and goes on when that file is gone.

The table says where each point lies and what is true there; the runner (tools/faultkit) and doc/faults.rst are made from it.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import stat

from nova_blockmigrate import concurrency

LOG = logging.getLogger(__name__)

ENVIRONMENT_VARIABLE = "NOVA_BLOCKMIGRATE_BREAKPOINTS"
ARMED, REACHED = ".armed", ".reached"
_LOOK_INTERVAL_S = 0.005

API, CONDUCTOR, SOURCE, DESTINATION = "api", "conductor", "source", "destination"


@dataclasses.dataclass(frozen=True)
class Point:
    """One place in the life of a migration."""

    name: str
    where: str
    """Which service reaches it: "api", "conductor", "source" or "destination"."""
    meaning: str
    """What has happened, and what has not."""


_STEPS = ("check", "queue", "prepare_destination", "transfer", "record", "finish_destination", "clean_source")
_JOBS = {
    "check_source": SOURCE,
    "check_host": DESTINATION,
    "check_destination": DESTINATION,
    "check_route": SOURCE,
    "measure_load": SOURCE,
    "prepare_destination": DESTINATION,
    "release_destination": DESTINATION,
    "complete_arrival": DESTINATION,
    "transfer": SOURCE,
    "release_source": SOURCE,
    "finish_destination": DESTINATION,
    "clean_source": SOURCE,
}
KINDS = ("directory", "file", "domain", "base", "scratch", "vif", "secret", "port-binding")
"""Kinds of artefacts whose making and unmaking has points of its own."""

POINTS = (
    Point("api.accepted", API, "the migration's row is written and the server taken; no conductor was told"),
    *(
        point
        for step in _STEPS
        for point in (
            Point(f"conductor.{step}.begin", CONDUCTOR, f"the row names the step {step}; nothing of it was done"),
            Point(f"conductor.{step}.done", CONDUCTOR, f"the work of {step} is done; the row does not know it"),
        )
    ),
    Point("conductor.turned_back", CONDUCTOR, "a step failed and the row says so; nothing was undone"),
    Point("conductor.undone", CONDUCTOR, "everything was undone; the row does not know it"),
    *(
        point
        for job, where in _JOBS.items()
        for point in (
            Point(f"{job}.begin", where, f"the job {job} was asked for; nothing of it was done"),
            Point(f"{job}.end", where, f"the job {job} is done; nobody was told"),
        )
    ),
    Point("prepare.claimed", DESTINATION, "memory and disk are promised to the guest; nothing was made"),
    Point("fetch.range_noted", DESTINATION, "a part of a base is here and its notes say so; the rest may be missing"),
    Point("prepare.base_fetched", DESTINATION, "the base image was brought; the source still serves it"),
    *(
        point
        for kind in KINDS
        for point in (
            Point(f"ledger.{kind}.listed", DESTINATION, f"a {kind} is in the ledger; it was not made"),
            Point(f"ledger.{kind}.made", DESTINATION, f"a {kind} is in the ledger and was made"),
            Point(f"ledger.{kind}.gone", DESTINATION, f"a {kind} was removed in a roll back or a clean-up; it is still listed"),
        )
    ),
    Point("transfer.journalled", SOURCE, "the journal says that a transfer may run; libvirt was not called"),
    Point("transfer.started", SOURCE, "libvirt was told to migrate"),
    Point("transfer.copying", SOURCE, "libvirt reports the first bytes; only the watching is held, libvirt goes on"),
    Point("transfer.source_paused", SOURCE, "libvirt paused the source for the last pass; the journal does not know it"),
    Point("handover.fencing", SOURCE, "the journal says that the source may be stopped; it was not"),
    Point("handover.complete", SOURCE, "the destination has everything; the source was not touched"),
    Point("handover.stopped", SOURCE, "every thread of the source's QEMU is stopped; libvirt was not asked"),
    Point("handover.judged", SOURCE, "libvirt's answer proves the stopped source harmless; it was not killed"),
    Point("handover.fenced", SOURCE, "the journal says that the source never runs again; it stands still, and was not killed"),
    Point("handover.killed", SOURCE, "the source's QEMU is killed; the destination still waits"),
    Point("handover.resumed", SOURCE, "the destination runs; nothing was written down or told"),
    Point("settle.decided", SOURCE, "both hosts were looked at after an accident; nothing was done about it"),
    Point("transfer.decided", SOURCE, "where the guest is has been found out; it is not on disk"),
    Point("transfer.kept", SOURCE, "where the guest is stands on disk; nobody was told"),
    Point("clean.proved", SOURCE, "the guest is proven to be elsewhere; nothing was deleted"),
    Point("clean.undefined", SOURCE, "libvirt has forgotten the guest; its files are there"),
    Point("clean.unmade", SOURCE, "all that the guest's ledger lists is deleted; the record of the migration is there"),
)
BY_NAME = {point.name: point for point in POINTS}

_directory: str | None = None


def set_up(directory: str | None) -> None:
    """Turn the points on for this process; None or an empty text turns them off.

    :raises ValueError: somebody else could write the directory, and so stop the service.
    """
    global _directory
    _directory = None
    if not directory:
        return
    try:
        found = os.stat(directory)
    except OSError as error:
        raise ValueError(f"{ENVIRONMENT_VARIABLE}: {error}") from error
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise ValueError(
            f"{ENVIRONMENT_VARIABLE}: {directory} must be a directory that belongs to the user of this service and that nobody "
            "else may write"
        )
    LOG.warning("Breakpoints are on: files in %s hold this service still. Only for tests.", directory)
    _directory = directory


def reached(name: str) -> None:
    """This process has come to a point: wait here if it is armed."""
    if _directory is None:
        return
    _hold(f"{_directory}/{name}")


def _hold(path: str) -> None:
    try:
        os.rename(path + ARMED, path + REACHED)
    except FileNotFoundError:
        return
    LOG.warning("Held at %s", os.path.basename(path))
    while os.path.exists(path + REACHED):
        concurrency.pause(_LOOK_INTERVAL_S)
    LOG.warning("Released from %s", os.path.basename(path))
