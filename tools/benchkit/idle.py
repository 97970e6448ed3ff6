"""What the services cost while nothing happens: resident memory, and share of a processor, of each process of ours."""

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path

from labkit import machine, services
from labkit.lab import Lab

SECONDS = 30
MEMORY_LIMIT_MIB, PROCESSOR_LIMIT = 150, 0.02


@dataclass(frozen=True)
class Usage:
    """One process: MiB resident, and processor seconds so far."""

    resident_mib: float
    processor_s: float


def run(lab: Lab, rounds: int) -> int:
    """Measure for half a minute a round; 0 when every service stays below its limits in the last one."""
    figures: dict[str, dict[str, float]] = {}
    for _ in range(rounds):
        before = _usages(lab)
        began = time.monotonic()
        time.sleep(SECONDS)  # the measurement itself
        elapsed = time.monotonic() - began
        figures = {
            name: {
                "resident_mib": round(now.resident_mib, 1),
                "processor": round((now.processor_s - before[name].processor_s) / elapsed, 4),
            }
            for name, now in _usages(lab).items()
        }
    for name, own in figures.items():
        print(f"{name:<24}{own['resident_mib']:>8.1f} MiB{100 * own['processor']:>8.2f} % of a core")
    within = all(own["resident_mib"] < MEMORY_LIMIT_MIB and own["processor"] < PROCESSOR_LIMIT for own in figures.values())
    print(json.dumps({"within_limits": within, **figures}))
    return 0 if within else 1


def _usages(lab: Lab) -> dict[str, Usage]:
    found = {}
    for each in lab.layout.machines:
        running = machine.daemons(lab.layout, each)
        for name in services.of(each):
            found[f"{each.name}:{name}"] = _usage(running[name]["pid"])
    return found


def _usage(pid: int) -> Usage:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    ticks = int(fields[11]) + int(fields[12])
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return Usage(pages * os.sysconf("SC_PAGE_SIZE") / 1024**2, ticks / os.sysconf("SC_CLK_TCK"))
