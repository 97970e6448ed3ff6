"""A process of ours below a service, asked over pipes: for libraries that eventlet must not patch, or that need other privileges.

It takes one request a line, as JSON, and answers each with a line. It is kept, as it takes a second to load; one that has ended is
started again at the next request.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from nova_blockmigrate.concurrency import native, original


class Attendant:
    """`python -m module arguments…`, when it is needed. To be used from native threads."""

    def __init__(self, module: str, *arguments: str, answer_time_s: float) -> None:
        self._command = [sys.executable, "-m", module, *arguments]
        self._answer_time_s = answer_time_s
        self._lock = native.threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Have the process load while nobody waits for it."""
        with self._lock:
            self._running()

    def close(self) -> None:
        with self._lock:
            self._end()

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """What it answers; requests are answered one after the other.

        :raises OSError: it cannot be reached, ended, or hung and was killed.
        """
        with self._lock:
            process = self._running()
            assert process.stdin is not None and process.stdout is not None  # noqa: S101 - both are pipes
            try:
                process.stdin.write(json.dumps(request).encode() + b"\n")
                process.stdin.flush()
                answered = _readable(process.stdout.fileno(), self._answer_time_s) and process.stdout.readline()
            except OSError as error:
                self._end()
                raise OSError(f"its process cannot be reached: {error}") from error
            if not answered:
                self._end()
                raise OSError("its process ended or hangs: what it said is in the log of the compute service")
            answer: dict[str, Any] = json.loads(answered)
            return answer

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)
        return self._process

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()


def _readable(descriptor: int, timeout_s: float) -> bool:
    module: Any = original("select")
    poll = module.poll()
    poll.register(descriptor, module.POLLIN)
    return bool(poll.poll(timeout_s * 1000))
