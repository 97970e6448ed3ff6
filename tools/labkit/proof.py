"""One move of a server with everything watched, and the findings: what `tools/quickstart` shows and the lab tests assert."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from labkit import guest, scenario
from labkit.commands import wait_until
from labkit.lab import Lab
from labkit.ping import Ping
from labkit.sampler import Report, Sampler
from labkit.scenario import HOST, Client, Server

RECORDS_AFTER = 50
"""How many records the guest must write on its new host before its disk is read."""


@dataclass(frozen=True)
class Finding:
    """One line of the table: what was to be observed, what was, and whether that is right."""

    title: str
    observed: str
    holds: bool


@dataclass(frozen=True)
class Proof:
    """All that was observed of one move."""

    source: str
    destination: str
    host_before: str
    host_after: str
    status_after: str
    migration: dict[str, Any]
    before: dict[str, Any]
    after: dict[str, Any]
    records: guest.Verdict
    longest_gap_ms: float
    sampled: Report
    left_on_source: list[str]
    steps_s: dict[str, float]

    def findings(self) -> list[Finding]:
        """The table, from top to bottom."""
        status = f"{self.status_after}, migration {self.migration['status']}"
        uptime = f"{self.before['uptime_s']:.1f} s, then {self.after['uptime_s']:.1f} s, boot {self.after['boot_id'][:8]}"
        steps = ", ".join(f"{name} {seconds:.2f}" for name, seconds in self.steps_s.items())
        records = f"1 to {self.records.last}, {self.records.missing} missing, {self.records.corrupt} corrupt"
        return [
            Finding("host by `nova show`", f"{self.host_before}, then {self.host_after}", self.host_after == self.destination),
            Finding("state", status, self.status_after == "ACTIVE" and self.migration["status"] == "completed"),
            Finding("same boot, uptime went on", uptime, guest.uptime_went_on(self.before, self.after)),
            Finding(
                "records on the new disk",
                records,
                self.records.is_whole and self.records.last > self.before["record"] + RECORDS_AFTER,
            ),
            Finding(
                "copies running at once",
                f"{self.sampled.max_running} in {sum(self.sampled.samples.values())} samples",
                self.sampled.max_running == 1,
            ),
            Finding("longest gap of a 10 ms ping", f"{self.longest_gap_ms:.0f} ms", self.longest_gap_ms > 0),
            Finding("bytes moved", f"{self.bytes_moved / 1024**2:.0f} MiB", self.bytes_moved > 0),
            Finding("seconds per step", steps, bool(steps)),
            Finding(f"left on {self.source}", ", ".join(self.left_on_source) or "nothing", not self.left_on_source),
        ]

    @property
    def bytes_moved(self) -> int:
        return int(self.migration["memory_processed_bytes"] or 0) + int(self.migration["disk_processed_bytes"] or 0)

    def to_json(self) -> dict[str, Any]:
        return {
            "ok": all(finding.holds for finding in self.findings()),
            "host_before": self.host_before,
            "host_after": self.host_after,
            "status": self.status_after,
            "migration": self.migration["status"],
            "boot_id_same": self.before["boot_id"] == self.after["boot_id"],
            "uptime_before_s": self.before["uptime_s"],
            "uptime_after_s": self.after["uptime_s"],
            "records": asdict(self.records),
            "max_running_copies": self.sampled.max_running,
            "longest_ping_gap_ms": round(self.longest_gap_ms, 1),
            "bytes_moved": self.bytes_moved,
            "seconds_per_step": self.steps_s,
            "left_on_source": self.left_on_source,
        }


def move(
    lab: Lab,
    client: Client,
    server: Server,
    destination: str,
    on_progress: Callable[[dict[str, Any]], None] = lambda migration: None,
) -> Proof:
    """Move a server with the real `nova` command while it writes, answers and is watched; LabError when it does not end."""
    shown = client.server(server.id)
    source = shown[HOST]
    before = server.guest.status()
    last: dict[str, Any] = {}

    def note(migration: dict[str, Any]) -> None:
        last.update(migration)
        on_progress(migration)

    with Sampler(lab, server.domain) as sampler, Ping(lab, server.guest.address) as ping:
        lab.nova("live-migration", "--block-migrate", server.name, destination)
        migration = scenario.wait_for_end(client, server.id, 300, note)
        scenario.wait_for_status(client, server.id, "ACTIVE", 30)
        server.guest.wait_for_record(server.guest.wait()["record"] + RECORDS_AFTER)
    moved = client.server(server.id)
    after = server.guest.status()
    records = read_records(lab, server, moved[HOST])
    if sampler.report is None or ping.result is None:
        raise RuntimeError("what watched the migration has no result")
    return Proof(
        source,
        destination,
        shown[HOST],
        moved[HOST],
        moved["status"],
        details(lab, migration),
        before,
        after,
        records,
        ping.result.longest_gap_s * 1000,
        sampler.report,
        scenario.leftovers(lab, source, server),
        timeline(lab, migration["id"]),
    )


def read_records(lab: Lab, server: Server, host: str) -> guest.Verdict:
    """Stop the guest's writer, read its records from the disk on a host, and let it write again."""
    server.guest.command("writer off")
    try:
        stopped = server.guest.command("sync")
        wait_until(lambda: not server.guest.status()["writer"], 10, "writer is off")
        found = guest.verify_records(server.disk, lambda argv: lab.command(host, argv))
    finally:
        server.guest.command("writer on")
    if found.last < stopped.get("record", 0):
        return guest.Verdict(found.first, found.last, found.missing + stopped["record"] - found.last, found.corrupt)
    return found


def details(lab: Lab, migration: dict[str, Any]) -> dict[str, Any]:
    """A migration that is over, with the counters that the API shows only while it runs."""
    kept = kept_figures(lab, migration["id"])
    return {**migration, **{f"{name}_bytes": kept.get(name) for name in ("memory_processed", "disk_processed")}}


def timeline(lab: Lab, migration_id: int) -> dict[str, float]:
    """Seconds of each step."""
    figures: dict[str, float] = kept_figures(lab, migration_id)["timeline"]
    return figures


def kept_figures(lab: Lab, migration_id: int) -> dict[str, Any]:
    """What the system keeps of a migration, as its administrator sees it."""
    shown = lab.run("controller", ["nova-blockmigrate-manage", "migration", "show", str(migration_id), "--json"])
    figures: dict[str, Any] = json.loads(shown.stdout)
    return figures
