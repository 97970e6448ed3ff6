"""Measures how long a guest could not be reached: a ping every few milliseconds, and the longest time between two answers."""

import itertools
import re
import signal
import subprocess
import tempfile
from dataclasses import dataclass

from labkit.lab import Lab
from labkit.layout import CONTROLLER

_ANSWER = re.compile(r"^\[(\d+\.\d+)\] \d+ bytes from .* icmp_seq=(\d+)", re.MULTILINE)


@dataclass(frozen=True)
class Result:
    """Times in seconds; `lost` counts requests between the first and the last answer that were never answered."""

    answers: int
    lost: int
    longest_gap_s: float
    gap_began_at: float


def parse(text: str) -> Result:
    """Read the output of `ping -D`."""
    found = [(float(at), int(sequence)) for at, sequence in _ANSWER.findall(text)]
    times = sorted(at for at, _ in found)
    gap, began = max(((after - before, before) for before, after in itertools.pairwise(times)), default=(0.0, 0.0))
    sequences = {sequence for _, sequence in found}
    span = max(sequences) - min(sequences) + 1 if sequences else 0
    return Result(len(times), span - len(sequences), gap, began)


class Ping:
    """A running ping from the controller, which is on the tenant network. A context manager, or start and stop."""

    def __init__(self, lab: Lab, address: str, interval_s: float = 0.01) -> None:
        self._lab, self._address, self._interval_s = lab, address, interval_s
        self._process: subprocess.Popen[bytes] | None = None
        self.result: Result | None = None

    def start(self) -> "Ping":
        # Into a file: a full pipe would stop the measurement.
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - closed by stop()
        argv = ["ping", "-D", "-n", "-i", str(self._interval_s), self._address]
        self._process = self._lab.popen(CONTROLLER, argv, stdout=self._output, stderr=subprocess.DEVNULL)
        return self

    def stop(self) -> Result:
        if self._process is None:
            raise RuntimeError("not started")
        self._process.send_signal(signal.SIGINT)
        self._process.wait(10)
        self._output.seek(0)
        self.result = parse(self._output.read().decode())
        self._output.close()
        return self.result

    def __enter__(self) -> "Ping":
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()
