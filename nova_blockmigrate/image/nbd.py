"""Base files from host to host, over NBD: the source serves one read-only, the destination copies what is not zero.

Served raw, whatever the file's format: the bytes are the file's, so that its hash is the same on both hosts. A copy that was
cut off, by whatever, goes on where it ended (`partial`).
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import subprocess
import urllib.parse
from collections.abc import Iterator
from typing import Any

from oslo_log import log

from nova_blockmigrate import breakpoints, concurrency, processes
from nova_blockmigrate.concurrency import native
from nova_blockmigrate.exceptions import FetchInterrupted, StorageError
from nova_blockmigrate.image import manifest
from nova_blockmigrate.image.manifest import Manifests
from nova_blockmigrate.image.partial import Partial, Range, ranges_of

LOG = log.getLogger(__name__)

FETCH_TIMEOUT_S = 6 * 3600.0
RANGE_BYTES = 128 * 1024**2
"""How much is copied between two notes of what is whole: what may have to be copied twice."""
START_TIMEOUT_S = 10.0
IDLE_LIMIT_S = 20.0
"""How long a file is served to nobody: a destination that died does not say that it needs no more."""
CLIENTS = 8
PKI = "/etc/pki/qemu"
"""Where QEMU's certificates are: those that its migrations use, too."""
_ESTABLISHED = "01"
_UNTIL_WE_END = ("setpriv", "--pdeathsig", "KILL")
"""What is started must not outlive the service that wants it."""
_LISTENING_AT_STDIN = ("sh", "-c", 'LISTEN_FDS=1 LISTEN_PID=$$ exec "$@" 3<&0 0</dev/null', "sh")
"""How systemd hands a listening socket over: as descriptor 3, to the process that it names."""


@dataclasses.dataclass(frozen=True)
class Exchange:
    """How a host gives and takes base files."""

    host: str
    manifests: Manifests
    tls: bool = False
    limit_bytes_s: int = 0
    """What a file may take of the network; 0: all that it can get."""
    pki: str = PKI

    @contextlib.contextmanager
    def serve(self, path: str, address: str, idle_limit_s: float = IDLE_LIMIT_S) -> Iterator[str]:
        """Serve a file read-only at a free port of `address`; yields its URI. Ends on exit, with this process, and when
        nobody was connected for `idle_limit_s` seconds.

        :raises StorageError: the file cannot be served.
        """
        try:
            with open(path, "rb") as file:  # qemu-nbd listens before it looks
                size_bytes = os.fstat(file.fileno()).st_size
        except OSError as error:
            raise StorageError(host=self.host, action=f"serve {path}", reason=str(error)) from error
        credentials = self._credentials("server") if self.tls else []
        server = _Server(path, address, credentials, idle_limit_s, self.host)
        try:
            port = server.start()
            told = urllib.parse.urlencode({"size": size_bytes, "tls-hostname": self.host})
            yield f"{'nbds' if self.tls else 'nbd'}://{_bracketed(address)}:{port}/?{told}"
        finally:
            server.stop()

    def fetch(self, uri: str, sha256: str, path: str) -> int:
        """Copy a served file to `path`, sparse, verified and on disk, or leave nothing of that name; returns the bytes that it
        takes here. What a copy that was cut off left (`cache.scratch_names`) is gone on with. The caller holds
        `cache.making(path)`.

        :raises FetchInterrupted: it could not be copied to its end.
        :raises StorageError: it is not the file that was asked for.
        """
        partial = Partial(path, sha256, int(_told(uri, "size")))
        went_on = self._complete(uri, path, partial)
        found = manifest.compute(partial.part)
        if found != sha256 and went_on:
            LOG.warning("%s: what was brought of it earlier is of no use: bringing all of it", path)
            partial.drop()
            self._complete(uri, path, partial)
            found = manifest.compute(partial.part)
        if found != sha256:
            partial.drop()
            raise StorageError(host=self.host, action=f"fetch {path}", reason=f"its sha256 is {found}, expected {sha256}")
        partial.finish()
        self.manifests.record(path, sha256, ours=True)
        return os.stat(path).st_blocks * 512

    def _complete(self, uri: str, path: str, partial: Partial) -> bool:
        """Copy what is missing; whether there was something already."""
        source = self._source(uri)
        wanted = list(ranges_of(self._extents(uri, source), RANGE_BYTES))
        done = self._begin(partial, path)
        missing = [each for each in wanted if each not in done]
        if done:
            LOG.info("%s: %d of %d ranges are here, going on", path, len(wanted) - len(missing), len(wanted))
        for each in missing:
            self._run(self._copying(source, each, partial.part), f"fetch {path} from {uri}")
            partial.note(each)
            breakpoints.reached("fetch.range_noted")
        partial.cut()
        return bool(done)

    def _begin(self, partial: Partial, path: str) -> frozenset[Range]:
        try:
            return partial.begin()
        except FileExistsError as error:
            raise StorageError(host=self.host, action=f"fetch {path}", reason=f"{error.filename}: {error.strerror}") from error

    def _extents(self, uri: str, source: tuple[list[str], str]) -> Iterator[tuple[int, int, bool]]:
        """(start, length, whether it holds anything but zeros) of a served file, in order."""
        objects, name = source
        command = [*_UNTIL_WE_END, "qemu-img", "map", *objects, "--output=json", "--image-opts", name]
        for extent in json.loads(self._run(command, f"look at what {uri} holds")):
            yield extent["start"], extent["length"], not extent["zero"]

    def _run(self, command: list[str], action: str) -> bytes:
        """What a program prints.

        :raises FetchInterrupted: it failed: the source, or the way there, may come back.
        """
        try:
            done = processes.run(command, FETCH_TIMEOUT_S)
        except TimeoutError as error:
            raise FetchInterrupted(host=self.host, action=action, reason=str(error)) from error
        if done.returncode != 0:
            raise FetchInterrupted(host=self.host, action=action, reason=done.failure)
        return done.stdout

    def _copying(self, source: tuple[list[str], str], part: Range, target: str) -> list[str]:
        objects, name = source
        command = [*_UNTIL_WE_END, "qemu-img", "convert", *objects, "-n", "--target-is-zero", "-W"]
        command += ["-r", str(self.limit_bytes_s)] if self.limit_bytes_s else []
        where = f"offset={part.start},size={part.length}"
        file = f"driver=raw,{where},file.driver=file,file.filename={_escaped(target)}"
        return [*command, "--image-opts", "--target-image-opts", f"{name},{where}", file]

    def _source(self, uri: str) -> tuple[list[str], str]:
        """How QEMU is to reach a served file: objects that it needs, and its options.

        :raises StorageError: the source offers it otherwise than this host wants it: encrypted or not.
        """
        parsed = urllib.parse.urlsplit(uri)
        if (parsed.scheme == "nbds") != self.tls:
            reason = "one host has live_migration_with_native_tls on, the other off: set it alike on all hosts"
            raise StorageError(host=self.host, action=f"fetch from {uri}", reason=reason)
        server = f"file.driver=nbd,file.server.type=inet,file.server.host={parsed.hostname},file.server.port={parsed.port}"
        if not self.tls:
            return [], f"driver=raw,{server}"
        name = _told(uri, "tls-hostname")
        return self._credentials("client"), f"driver=raw,{server},file.tls-creds=tls0,file.tls-hostname={name}"

    def _credentials(self, endpoint: str) -> list[str]:
        return ["--object", f"tls-creds-x509,id=tls0,endpoint={endpoint},dir={self.pki},verify-peer=yes"]


class _Server:
    """One qemu-nbd. A native thread of its own starts it and lives as long as it: the kernel ends a process with
    `--pdeathsig` when the *thread* that started it ends, so the caller's thread must not be that one."""

    def __init__(self, path: str, address: str, credentials: list[str], idle_limit_s: float, host: str) -> None:
        self._path, self._address, self._host = path, address, host
        self._credentials = [*credentials, "--tls-creds", "tls0"] if credentials else []
        self._idle_limit_s = idle_limit_s
        self._started = native.queue.Queue()
        self._stop = native.threading.Event()
        self._thread = native.threading.Thread(target=self._live, name="qemu-nbd", daemon=True)

    def start(self) -> int:
        """The port."""
        self._thread.start()
        answer = self._started.get()
        if isinstance(answer, Exception):
            raise answer
        return int(answer)

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
        self._wait_until_unused(port)
        process.kill()
        process.wait()

    def _wait_until_unused(self, port: int) -> None:
        clock = native.time.monotonic
        unused_since = clock()
        while not self._stop.wait(min(self._idle_limit_s / 4, 15.0)):
            if _has_socket(port, _ESTABLISHED):
                unused_since = clock()
            elif clock() - unused_since > self._idle_limit_s:
                return

    def _spawn(self) -> tuple[subprocess.Popen[bytes], int]:
        """The socket is ours before QEMU starts, so that nobody else can have its port."""
        ready = os.memfd_create("qemu-nbd", os.MFD_CLOEXEC)
        try:
            with _socket(self._address) as listener:
                listener.bind((self._address, 0))
                listener.listen(CLIENTS)
                command = self._command(f"/proc/{os.getpid()}/fd/{ready}")
                process = subprocess.Popen(command, stdin=listener.fileno(), stdout=subprocess.DEVNULL)
                port = int(listener.getsockname()[1])
            if _is_written(ready, process.pid):
                return process, port
        finally:
            os.close(ready)
        process.kill()
        reason = f"qemu-nbd ended with status {process.wait()}"
        raise StorageError(host=self._host, action=f"serve {self._path} at {self._address}", reason=reason)

    def _command(self, pid_file: str) -> list[str]:
        """`pid_file`: what QEMU writes when it is ready."""
        serve_it = ["qemu-nbd", "--read-only", "--persistent", f"--shared={CLIENTS}", f"--pid-file={pid_file}"]
        # (a guest may be using the file)
        image = f"driver=raw,read-only=on,force-share=on,file.driver=file,file.filename={_escaped(self._path)}"
        return [*_LISTENING_AT_STDIN, *_UNTIL_WE_END, *serve_it, *self._credentials, "--image-opts", image]


def _escaped(path: str) -> str:
    """A path in QEMU's options."""
    return path.replace(",", ",,")


def _told(uri: str, name: str) -> str:
    return urllib.parse.parse_qs(urllib.parse.urlsplit(uri).query)[name][0]


def _is_written(descriptor: int, pid: int) -> bool:
    """Whether a file gets something before the process ends or time is up."""
    deadline = native.time.monotonic() + START_TIMEOUT_S
    while native.time.monotonic() < deadline:
        if os.fstat(descriptor).st_size:
            return True
        if processes.ends_within(pid, 0.005):
            return False
    return False


def _has_socket(port: int, state: str) -> bool:
    """Whether a TCP socket at the local port is in a state, as the kernel numbers them."""
    for name in ("/proc/thread-self/net/tcp", "/proc/thread-self/net/tcp6"):
        with contextlib.suppress(FileNotFoundError), open(name, encoding="ascii") as table:
            for _, local, _, seen, *_ in map(str.split, table.readlines()[1:]):
                if seen == state and int(local.rpartition(":")[2], 16) == port:
                    return True
    return False


def _socket(address: str) -> Any:
    module = concurrency.original("socket")
    return module.socket(module.AF_INET6 if ":" in address else module.AF_INET, module.SOCK_STREAM)


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address
