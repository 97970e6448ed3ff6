"""`tools/quickstart`: brings the laboratory up, boots `lm001` on compute1, moves it to compute2 and proves what happened."""

import argparse
import json
import sys
from typing import Any

from labkit import proof, scenario
from labkit.errors import LabError, StepFailed
from labkit.lab import Lab
from labkit.layout import state_folder
from labkit.progress import Progress, tail

NAME = "lm001"
SOURCE, DESTINATION = "compute1", "compute2"
PAYLOAD_MIB = 128
"""What the guest writes to its disk first, so that there is something to move and progress to see."""


def main(argv: list[str]) -> int:
    """The exit code: 0 only if everything was observed as it should be."""
    parser = argparse.ArgumentParser("quickstart", description=__doc__)
    parser.add_argument("--state", metavar="DIR", help="the laboratory's folder (NBM_LAB, else .lab in the repository)")
    given = parser.parse_args(argv)
    progress = Progress()
    try:
        lab = Lab(state_folder(given.state))
        shown = run(lab, progress)
    except StepFailed as error:
        print(f"\nquickstart failed: {error}", file=sys.stderr)
        if error.log:
            print(f"--- {error.log}\n{tail(error.log)}", file=sys.stderr)
        return 1
    except LabError as error:
        print(f"\nquickstart failed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as error:
        print(f"\nquickstart interrupted{_during(error)}; logs of what ran are in {lab.layout.logs}", file=sys.stderr)
        return 130
    progress.finish("done; the laboratory stays up: `tools/lab nova list`, `tools/lab down`")
    print(_table(shown))
    print(json.dumps(shown.to_json()))
    return 0 if shown.to_json()["ok"] else 1


def run(lab: Lab, progress: Progress) -> proof.Proof:
    """All steps, each a line of progress."""
    lab.up(progress=progress)
    logs = lab.layout.log_of(lab.layout.controller, "conductor")
    client = scenario.Client(lab)
    with progress.step("servers of an earlier run removed", logs):
        scenario.delete_all(lab, client)
    with progress.step(f"nova boot {NAME} on {SOURCE}", lab.layout.log_of(lab.machine(SOURCE), "compute")):
        server = scenario.boot(lab, client, NAME, SOURCE)
    with progress.step(f"guest writes {PAYLOAD_MIB} MiB"):
        server.guest.write_payload(PAYLOAD_MIB)
    with progress.step(f"nova live-migration --block-migrate {NAME} {DESTINATION}", logs):
        return proof.move(lab, client, server, DESTINATION, _show)


def _show(migration: dict[str, Any]) -> None:
    """One line of how far a migration is."""
    total = sum(migration[f"{what}_total_bytes"] or 0 for what in ("memory", "disk"))
    remaining = sum(migration[f"{what}_remaining_bytes"] or 0 for what in ("memory", "disk"))
    share = f", {100 * (total - remaining) // total} % of {total / 1024**2:.0f} MiB" if total else ""
    print(f"    {migration['status']}{share}", file=sys.stderr, flush=True)


def _table(shown: proof.Proof) -> str:
    findings = shown.findings()
    width = max(len(finding.title) for finding in findings)
    return "\n".join(f"{'ok  ' if one.holds else 'FAIL'} {one.title:<{width}}  {one.observed}" for one in findings)


def _during(error: BaseException) -> str:
    notes = getattr(error, "__notes__", [])
    return f" during: {notes[-1]}" if notes else ""
