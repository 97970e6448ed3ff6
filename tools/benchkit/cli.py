"""The command line of `tools/bench`."""

import argparse
import os
import signal
import sys
import tempfile
from pathlib import Path

from benchkit import idle, overhead, overhead_nova, scale
from labkit.errors import LabError
from labkit.lab import Lab
from labkit.layout import state_folder
from labkit.progress import Progress
from novakit.laboratory import laboratory

BENCHES = {"overhead": overhead.run, "idle": idle.run}


def main(argv: list[str]) -> int:
    """Run one benchmark, those of hosts in a laboratory of their own unless one is named."""
    given = _arguments(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what was started is ended on the way out
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        if given.name == "scale":
            sizes = {name: getattr(given, name) for name in scale.Sizes.__dataclass_fields__}
            return scale.run(scale.Sizes(**sizes))
        if given.nova:
            return _with_nova(given.state, given.rounds)
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


def _arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser("bench", description="Measure; the last line of the output is JSON.")
    parser.add_argument(
        "name",
        choices=(*BENCHES, "scale"),
        help="overhead: moving a guest by us, against `virsh migrate`; idle: what the services cost; scale: many hosts, servers "
        "and migrations, guests in memory",
    )
    parser.add_argument("--rounds", type=int, default=3, help="overhead: rounds of two moves by each; idle: half minutes (3)")
    parser.add_argument("--nova", action="store_true", help="overhead: a real Nova, with its own driver and with ours")
    parser.add_argument("--state", metavar="DIR", help="overhead, idle: use the laboratory in this folder and leave it up")
    many = parser.add_argument_group("scale")
    for name, field in scale.Sizes.__dataclass_fields__.items():
        kind = {"choices": ("eventlet", "threading")} if name == "concurrency" else {"type": int, "metavar": "N"}
        many.add_argument(f"--{name}", default=field.default, help=f"({field.default})", **kind)  # type: ignore[arg-type]
    return parser.parse_args(argv)


def _with_nova(state: str | None, rounds: int) -> int:
    """In a laboratory that has Nova instead of our services."""
    if state:
        os.environ["NBM_LAB"] = str(state_folder(state))
    with laboratory() as lab:
        return overhead_nova.run(lab, rounds)


def _up(lab: Lab) -> Lab:
    lab.up(progress=Progress())
    return lab
