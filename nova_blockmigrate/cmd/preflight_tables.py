"""The dry run's report for people (pure): a line a host, then every check of the named host or of the best."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Record = dict[str, Any]
MIB = 1024**2
_OUT = ("failed", "unknown")


def render(report: Record, host: str | None) -> str:
    hosts = report["hosts"]
    if not hosts:
        return "There is no other compute host."
    parts = [f"Server {report.get('server_name') or report['server_uuid']} on {report['source']}; nothing was changed."]
    if host is None:
        parts.append(ranking(hosts))
    parts.append(details(hosts[0]))
    return "\n\n".join(parts)


def ranking(hosts: Sequence[Record]) -> str:
    """Every host, best first, and why the others are out."""
    rows = [("RANK", "HOST", "SECONDS", "WHY NOT")]
    rows += [(str(one["rank"] or "-"), one["host"], _seconds(one["estimate"]), why_not(one)) for one in hosts]
    return _columns(rows)


def why_not(host: Record) -> str:
    """What failed; only when nothing failed, what could not be found out."""
    for result in _OUT:
        found = [f"{one['title']}: {one['found']}" for one in host["findings"] if one["result"] == result]
        if found and not host["acceptable"]:
            return "; ".join(found)
    return ""


def details(host: Record) -> str:
    """Every check of one host, and the estimate."""
    verdict = "acceptable" if host["acceptable"] else "NOT acceptable"
    return "\n".join([f"{host['host']}: {verdict}", findings_table(host["findings"]), "", estimate_lines(host["estimate"])])


def findings_table(findings: Sequence[Record]) -> str:
    """A line a check; what is needed and what to do stands below those that did not pass."""
    width = max(len(one["title"]) for one in findings)
    lines = []
    for one in findings:
        result = one["result"] if one["result"] == "passed" else one["result"].upper()
        lines.append(f"{result:<8} {one['title']:<{width}}  {one['found']}")
        for label, text in (("needed", one["needed"]), ("to do", one["remedy"])):
            if text:
                lines.append(f"{'':<8} {label + ':':>{width}}  {text}")
    return "\n".join(lines)


def estimate_lines(found: Record | None) -> str:
    if found is None:
        return "No estimate: nothing is known of the guest."
    base = "unknown" if found["base_bytes"] is None else _size(found["base_bytes"])
    least, most = found["seconds_range"]
    least_ms, most_ms = found["pause_range_ms"]
    longest = f"{least:.0f} to {most:.0f}" if most is not None else f"at least {least:.0f}"
    seconds = "endless" if found["seconds"] is None else f"{found['seconds']:.0f} s"
    lines = [
        f"To move: {_size(found['total_bytes'])} (disk {_size(found['disk_bytes'])}, memory {_size(found['memory_bytes'])}, "
        f"missing base image {base})",
        f"Time:    {seconds} ({longest}) at {_size(found['rate_bytes_s'])}/s, {found['rate_from']}",
        f"Writes:  memory {_rate(found['dirty_bytes_s'])}, disk {_rate(found['disk_written_bytes_s'])}",
        f"Pause:   {found['pause_ms']:.0f} ms ({least_ms:.0f} to {most_ms:.0f})",
        f"Sure:    {found['sure']}",
    ]
    return "\n".join([*lines, *(f"         {note}" for note in found["notes"])])


def _seconds(found: Record | None) -> str:
    if found is None:
        return "?"
    return "endless" if found["seconds"] is None else f"{found['seconds']:.0f}"


def _size(size_bytes: int) -> str:
    return f"{size_bytes / MIB:.0f} MiB" if size_bytes < 10240 * MIB else f"{size_bytes / 1024 / MIB:.1f} GiB"


def _rate(bytes_s: int | None) -> str:
    return "unknown" if bytes_s is None else f"{_size(bytes_s)}/s"


def _columns(rows: Sequence[tuple[str, ...]]) -> str:
    widths = [max(len(row[index]) for row in rows) for index in range(len(rows[0]))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)
