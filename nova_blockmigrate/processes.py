"""Runs programs from native threads: argument lists only, never a shell.

Output goes to memory files instead of pipes, and the end is awaited on a process descriptor, so that nothing here touches
what eventlet patches (select, threading, time) even when the service runs on it.
"""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
from collections.abc import Sequence

from nova_blockmigrate import concurrency

_ENVIRONMENT = {**os.environ, "LC_ALL": "C"}


@dataclasses.dataclass(frozen=True)
class Completed:
    """How a program ended."""

    arguments: tuple[str, ...]
    returncode: int
    stdout: bytes
    stderr: str

    @property
    def failure(self) -> str:
        """One line for an error message: what ran and what it said last."""
        said = self.stderr.strip().splitlines()
        return f"{' '.join(self.arguments)}: {said[-1] if said else f'exit status {self.returncode}'}"


def run(arguments: Sequence[str], timeout_s: float | None = None, input: bytes = b"") -> Completed:
    """Run a program to its end, with `input` to read; a status other than 0 is for the caller to judge.

    :raises TimeoutError: it did not end within `timeout_s` seconds, and was killed.
    :raises FileNotFoundError: there is no such program.
    """
    given, out, err = (os.memfd_create(name, os.MFD_CLOEXEC) for name in ("stdin", "stdout", "stderr"))
    try:
        _fill(given, input)
        process = subprocess.Popen(arguments, stdin=given, stdout=out, stderr=err, env=_ENVIRONMENT)
        if timeout_s is not None and not ends_within(process.pid, timeout_s):
            process.kill()
            process.wait()
            raise TimeoutError(f"{' '.join(arguments)}: not done after {timeout_s:.0f} s")
        returncode = process.wait()
        return Completed(tuple(arguments), returncode, _content(out), _content(err).decode(errors="replace"))
    finally:
        for descriptor in (given, out, err):
            os.close(descriptor)


def ends_within(pid: int, timeout_s: float) -> bool:
    """Whether a process ends (or is gone already) within `timeout_s` seconds."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return descriptor_ends_within(descriptor, timeout_s)
    finally:
        os.close(descriptor)


def descriptor_ends_within(pidfd: int, timeout_s: float) -> bool:
    """The same for a process held by its descriptor."""
    select = concurrency.original("select")
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(timeout_s * 1000))


def signal_descriptor(pidfd: int, number: signal.Signals) -> bool:
    """Send a signal through a process descriptor; False when the process is gone."""
    try:
        signal.pidfd_send_signal(pidfd, number)
    except ProcessLookupError:
        return False
    return True


def _fill(descriptor: int, content: bytes) -> None:
    while content:
        content = content[os.write(descriptor, content) :]
    os.lseek(descriptor, 0, os.SEEK_SET)


def _content(descriptor: int) -> bytes:
    return os.pread(descriptor, os.fstat(descriptor).st_size, 0)
