"""A program that runs in the foreground as long as a `with` block."""

import contextlib
import os
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from labkit.commands import wait_until
from labkit.errors import LabError

STOP_S = 30


@contextlib.contextmanager
def running(
    name: str,
    argv: Sequence[str],
    log: Path,
    ready: Callable[[], bool],
    *,
    env: Mapping[str, str] | None = None,
    stop_signal: int = signal.SIGTERM,
    ready_s: float = 120,
) -> Iterator[subprocess.Popen[bytes]]:
    """Start a program, in a process group of its own, and wait until it is ready; end all of the group with the block, or the
    program when this process dies.

    :raises LabError: it ended, or was not ready in time; with the last lines of its log.
    """
    with log.open("ab") as output:
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", *argv],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=env,
            cwd="/",
            start_new_session=True,
        )
    try:
        try:
            wait_until(ready, ready_s, f"{name} is ready", interval_s=0.1, still_possible=lambda: process.poll() is None)
        except LabError as error:
            raise LabError(f"{error}\n{log.read_text(errors='replace')[-2000:]}") from error
        yield process
    finally:
        _end(process, stop_signal)


def _end(process: subprocess.Popen[bytes], stop_signal: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(stop_signal)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(STOP_S)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # what it started and left
    process.wait()


def free_port() -> int:
    """A port of the loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=2):
        return True
    return False
