"""Watches, every few milliseconds and from a process of its own, on which hosts a guest runs.

A host runs the guest when its libvirt says RUNNING and the QEMU process exists and is not stopped, before and after libvirt was
asked. (QEMU's own monitor cannot be asked during a handover: the domain's lock is taken. The CPU time of a paused guest grows,
so it proves nothing.) Each answer holds at some instant between question and answer; a guest counts as running in between two such
answers only when they follow each other closely. So what is reported as two running copies is certain.

`Sampler` starts and reads it; run as a program with libvirt-python, it writes one JSON line an answer.
"""

import argparse
import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from labkit.lab import Lab

_RUNNING = 1  # VIR_DOMAIN_RUNNING
# Two answers further apart than this prove nothing about the time between them.
LONGEST_STEP_S = 0.1


@dataclass(frozen=True)
class Sample:
    """One answer of one host, times by the monotonic clock. `state` and `reason` are libvirt's; -1: no domain; None: no answer."""

    host: str
    asked_at: float
    answered_at: float
    state: int | None
    reason: int | None
    process_runs: bool

    @property
    def is_running(self) -> bool:
        return self.state == _RUNNING and self.process_runs


@dataclass(frozen=True)
class Report:
    """What the samples say: at most how many copies certainly ran at one instant, and how many answers there were."""

    max_running: int
    samples: dict[str, int]
    unanswered: dict[str, int]
    overlap_s: float
    longest_step_s: float
    ran_on: list[str]


def spans(samples: Iterable[Sample]) -> list[tuple[float, float]]:
    """The times during which the host that gave these samples certainly ran the guest."""
    found: list[tuple[float, float]] = []
    previous: Sample | None = None
    for sample in sorted(samples, key=lambda each: each.asked_at):
        if sample.is_running:
            if previous and previous.is_running and sample.answered_at - previous.asked_at <= LONGEST_STEP_S:
                found[-1] = (found[-1][0], sample.asked_at)
            else:
                found.append((sample.answered_at, sample.answered_at))
        previous = sample
    return found


def report(samples: Iterable[Sample]) -> Report:
    by_host: dict[str, list[Sample]] = {}
    for sample in samples:
        by_host.setdefault(sample.host, []).append(sample)
    running = {host: spans(own) for host, own in by_host.items()}
    most, overlap = _overlap([span for own in running.values() for span in own])
    steps = [later.asked_at - before.asked_at for own in by_host.values() for before, later in itertools.pairwise(own)]
    return Report(
        most,
        {host: len(own) for host, own in by_host.items()},
        {host: sum(sample.state is None for sample in own) for host, own in by_host.items()},
        overlap,
        max(steps, default=0.0),
        sorted(host for host, own in running.items() if own),
    )


def _overlap(all_spans: list[tuple[float, float]]) -> tuple[int, float]:
    """The greatest number of spans at one instant, and for how long there was more than one."""
    edges = sorted([(begin, 0, 1) for begin, _ in all_spans] + [(end, 1, -1) for _, end in all_spans])
    count = most = 0
    overlap = previous = 0.0
    for at, _, change in edges:
        if count > 1:
            overlap += at - previous
        count, previous = count + change, at
        most = max(most, count)
    return most, overlap


class Sampler:
    """Watches one domain on all hosts of a laboratory while the context lasts; then `report` is there."""

    def __init__(self, lab: "Lab", domain: str, interval_s: float = 0.003) -> None:
        self._lab, self._domain, self._interval_s = lab, domain, interval_s
        self.report: Report | None = None

    def start(self) -> "Sampler":
        from labkit import fabric, machine
        from labkit.layout import VENV

        self._folder = tempfile.TemporaryDirectory(prefix="nbm-sampler-")
        self._path = Path(self._folder.name) / "samples.jsonl"
        layout = self._lab.layout
        # By each host's own socket, not over the network: tests cut that.
        hosts = [
            f"{host.name}={machine.pid(layout, host)}={fabric.namespace_file(host.namespace).stat().st_ino}"
            for host in layout.hosts
        ]
        self._process = subprocess.Popen(
            [
                str(VENV / "bin/python"),
                __file__,
                self._domain,
                str(self._path),
                "--interval",
                str(self._interval_s),
                *hosts,
            ],
            stdout=subprocess.PIPE,
            text=True,
        )
        if not self._process.stdout or self._process.stdout.readline() != "ready\n":
            raise RuntimeError("the sampler did not start")
        return self

    def stop(self) -> Report:
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(15)
        with self._path.open() as lines:
            self.samples = [Sample(**json.loads(line)) for line in lines]
        self._folder.cleanup()
        self.report = report(self.samples)
        return self.report

    def __enter__(self) -> "Sampler":
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


# The program


class _Qemu:
    """QEMU's process of one domain on one host (told by its network namespace), as /proc shows it."""

    def __init__(self, domain: str, network_inode: int) -> None:
        self._domain, self._network = domain, network_inode
        self._pid: int | None = None

    def runs(self) -> bool:
        """It exists and none of the ways to be stopped applies."""
        if self._pid is None or not self._exists(self._pid):
            self._pid = next((pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if self._is_ours(pid)), None)
        return self._pid is not None and self._state(self._pid) not in "TtZX"

    def _exists(self, pid: int) -> bool:
        return self._state(pid) not in "ZX"

    @staticmethod
    def _state(pid: int) -> str:
        try:
            return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        except (OSError, IndexError):
            return "X"

    def _is_ours(self, pid: int) -> bool:
        try:
            arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            named = any(argument.startswith(b"guest=" + self._domain.encode() + b",") for argument in arguments)
            return named and os.stat(f"/proc/{pid}/ns/net").st_ino == self._network
        except OSError:
            return False


class _HostWatcher(threading.Thread):
    def __init__(self, domain: str, host: str, interval_s: float, output: TextIO, lock: threading.Lock) -> None:
        super().__init__(daemon=True)
        self._name, pid, inode = host.split("=")
        self._socket = f"/proc/{pid}/root/run/libvirt/libvirt-sock-ro"
        self._qemu = _Qemu(domain, int(inode))
        self._domain, self._interval_s, self._output, self._lock = domain, interval_s, output, lock
        self._connection: Any = None
        self.connected = threading.Event()

    def run(self) -> None:
        while True:
            before = self._qemu.runs()
            asked_at = time.monotonic()
            state, reason = self._ask()
            answered_at = time.monotonic()
            runs = before and self._qemu.runs()
            line = json.dumps(asdict(Sample(self._name, asked_at, answered_at, state, reason, runs)))
            with self._lock:
                self._output.write(line + "\n")
            self.connected.set()
            time.sleep(self._interval_s if state is not None else 0.05)

    def _ask(self) -> tuple[int | None, int | None]:
        import libvirt

        try:
            if self._connection is None:
                self._connection = libvirt.openReadOnly(f"qemu+unix:///system?socket={self._socket}")
            state, reason = self._connection.lookupByName(self._domain).state()
            return state, reason
        except libvirt.libvirtError as error:
            if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
                return -1, None
            self._connection = None
            return None, None


def main() -> None:
    import libvirt

    parser = argparse.ArgumentParser(description="Watch on which hosts a domain runs.")
    parser.add_argument("domain")
    parser.add_argument("output")
    parser.add_argument("--interval", type=float, default=0.003)
    parser.add_argument("hosts", nargs="+", metavar="NAME=PID=NETWORK_NAMESPACE_INODE")
    given = parser.parse_args()
    libvirt.registerErrorHandler(lambda *_: None, None)
    lock = threading.Lock()
    with open(given.output, "w") as output:
        watchers = [_HostWatcher(given.domain, host, given.interval, output, lock) for host in given.hosts]
        for watcher in watchers:
            watcher.start()
        for watcher in watchers:
            watcher.connected.wait(10)
        print("ready", flush=True)
        signal.sigwait({signal.SIGTERM, signal.SIGINT})
        lock.acquire()  # no line is cut in two
        output.flush()
        os._exit(0)


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    main()
    sys.exit(0)
