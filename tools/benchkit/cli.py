"""The command line of `tools/bench`."""

import argparse
import sys
import tempfile
from pathlib import Path

from benchkit import idle, overhead
from labkit.errors import LabError
from labkit.lab import Lab
from labkit.layout import state_folder
from labkit.progress import Progress

BENCHES = {"overhead": overhead.run, "idle": idle.run}


def main(argv: list[str]) -> int:
    """Run one benchmark, in a laboratory of its own unless one is named."""
    parser = argparse.ArgumentParser("bench", description="Side by side with plain virsh migrate, as ratios.")
    parser.add_argument(
        "name", choices=BENCHES, help="overhead: moving a guest by us, against `virsh migrate`; idle: what the services cost"
    )
    parser.add_argument("--rounds", type=int, default=3, help="overhead: rounds of two moves by each; idle: half minutes (3)")
    parser.add_argument("--state", metavar="DIR", help="use the laboratory in this folder and leave it up")
    given = parser.parse_args(argv)
    try:
        if given.state:
            return BENCHES[given.name](_up(Lab(state_folder(given.state))), given.rounds)
        with tempfile.TemporaryDirectory(prefix="nbm-bench-") as folder:
            lab = Lab(Path(folder) / "lab")
            try:
                return BENCHES[given.name](_up(lab), given.rounds)
            finally:
                lab.down()
    except LabError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1


def _up(lab: Lab) -> Lab:
    lab.up(progress=Progress())
    return lab
