"""Base files from host to host, over NBD: the source serves one read-only, the destination copies what is not zero.

Served raw, whatever the file's format: the bytes are the file's, so that its hash is the same on both hosts.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from typing import Any

from nova_blockmigrate import concurrency, processes
from nova_blockmigrate.concurrency import native
from nova_blockmigrate.exceptions import StorageError
from nova_blockmigrate.image import manifest
from nova_blockmigrate.image.cache import completing, file_hash, making, run_or_fail

FETCH_TIMEOUT_S = 6 * 3600.0
START_TIMEOUT_S = 10.0
CLIENTS = 8
_ATTEMPTS = 5


@contextlib.contextmanager
def serve(path: str, address: str, host: str) -> Iterator[str]:
    """Serve a file read-only at a free port of `address`; yields its URI. Ends on exit, and with this process.

    :raises StorageError: the file cannot be served.
    """
    try:
        open(path, "rb").close()  # qemu-nbd listens before it looks
    except OSError as error:
        raise StorageError(host=host, action=f"serve {path}", reason=str(error)) from error
    server = _Server(path, address, host)
    try:
        yield server.start()
    finally:
        server.stop()


def fetch(uri: str, sha256: str, path: str, host: str) -> int:
    """Copy a served file to `path`, sparse, verified and on disk, or leave nothing; returns the bytes that it takes here.

    :raises StorageError: it could not be copied, or is not the file that was asked for.
    """
    with making(path):
        if os.path.exists(path) and file_hash(path, host) == sha256:
            return 0
        with completing(path) as part:
            command = ["qemu-img", "convert", "-f", "raw", "-O", "raw", "-W", uri, part]
            run_or_fail(command, FETCH_TIMEOUT_S, f"fetch {path} from {uri}", host)
            found = manifest.compute(part)
            if found != sha256:
                raise StorageError(host=host, action=f"fetch {path}", reason=f"its sha256 is {found}, expected {sha256}")
        manifest.record(path, sha256)
    return os.stat(path).st_blocks * 512


class _Server:
    """One qemu-nbd. A native thread of its own starts it and lives as long as it: the kernel ends a process with
    `--pdeathsig` when the *thread* that started it ends, so the caller's thread must not be that one."""

    def __init__(self, path: str, address: str, host: str) -> None:
        self._path, self._address, self._host = path, address, host
        self._started = native.queue.Queue()
        self._stop = native.threading.Event()
        self._thread = native.threading.Thread(target=self._live, name="qemu-nbd", daemon=True)

    def start(self) -> str:
        self._thread.start()
        answer = self._started.get()
        if isinstance(answer, Exception):
            raise answer
        return f"nbd://{_bracketed(self._address)}:{answer}"

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def _live(self) -> None:
        try:
            process, port = self._spawn()
        except (StorageError, OSError) as error:
            self._started.put(error)
            return
        self._started.put(port)
        self._stop.wait()
        process.kill()
        process.wait()

    def _spawn(self) -> tuple[subprocess.Popen[bytes], int]:
        reason = ""
        for _ in range(_ATTEMPTS):
            port = _free_port(self._address)
            process = subprocess.Popen(self._command(port), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
            if _listens(self._address, port, process.pid):
                return process, port
            process.kill()
            reason = f"qemu-nbd ended with status {process.wait()}"
        raise StorageError(host=self._host, action=f"serve {self._path} at {self._address}", reason=reason)

    def _command(self, port: int) -> list[str]:
        serve_it = ["qemu-nbd", "--read-only", "--persistent", f"--shared={CLIENTS}", "-f", "raw", "-b", self._address]
        return ["setpriv", "--pdeathsig", "KILL", *serve_it, "-p", str(port), self._path]


def _free_port(address: str) -> int:
    with _socket(address) as listener:
        listener.bind((address, 0))
        return int(listener.getsockname()[1])


def _listens(address: str, port: int, pid: int) -> bool:
    """Whether somebody answers at the port before the process ends or time is up."""
    deadline = native.time.monotonic() + START_TIMEOUT_S
    while native.time.monotonic() < deadline:
        with _socket(address) as client:
            if client.connect_ex((address, port)) == 0:
                return True
        if processes.ends_within(pid, 0.005):
            return False
    return False


def _socket(address: str) -> Any:
    module = concurrency.original("socket")
    return module.socket(module.AF_INET6 if ":" in address else module.AF_INET, module.SOCK_STREAM)


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address
