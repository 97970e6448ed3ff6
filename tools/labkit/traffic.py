"""Real packets for tests of networks: frames seen in the fabric, and connections tried again and again."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

from labkit import fabric
from labkit.guest import PORT, EnterNetwork
from labkit.lab import Lab
from labkit.layout import CONTROLLER

_ALL_FRAMES = 0x0003


class Sniffer:
    """Frames that come to the tenant network's bridge in the fabric, from when it is entered on."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab

    def __enter__(self) -> "Sniffer":
        with self._lab.inside_network(CONTROLLER):
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ALL_FRAMES))
            self._socket.bind((fabric.TENANT_BRIDGE, 0))
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def until(self, wanted: bytes, timeout_s: float) -> list[bytes]:
        """All frames up to the first that has `wanted` in it; TimeoutError when none comes."""
        seen: list[bytes] = []
        deadline = time.monotonic() + timeout_s
        while (left_s := deadline - time.monotonic()) > 0:
            self._socket.settimeout(left_s)
            with contextlib.suppress(TimeoutError):
                seen.append(self._socket.recv(2048))
                if wanted in seen[-1]:
                    return seen
        raise TimeoutError(f"no frame with {wanted!r} among {len(seen)} within {timeout_s:.0f} s")


class Prober:
    """Tries to connect to a port without a pause, in a thread of its own, and counts how that ends."""

    def __init__(self, enter: EnterNetwork, address: str, port: int, patience_s: float = 0.1) -> None:
        self._enter, self._address, self._port, self._patience_s = enter, address, port, patience_s
        self._stop = threading.Event()
        self.outcomes: dict[str, int] = {"silence": 0, "refused": 0, "open": 0}
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Prober":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        with self._enter():
            while not self._stop.is_set():
                self.outcomes[self._try()] += 1

    def _try(self) -> str:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as connection:
            connection.settimeout(self._patience_s)
            try:
                connection.connect((self._address, self._port))
            except ConnectionRefusedError:
                return "refused"
            except OSError:
                return "silence"
            return "open"


class KeptConnection:
    """One TCP connection to a guest's agent, over which orders go as long as it holds."""

    def __init__(self, enter: EnterNetwork, address: str) -> None:
        with enter():
            self._socket = socket.create_connection((address, PORT), 10)
        self._socket.settimeout(30)
        self._lines = self._socket.makefile("rb")

    def ask(self) -> bytes:
        """The agent's status, as it writes it; OSError when the connection is dead."""
        self._socket.sendall(b"status\n")
        answer = self._lines.readline()
        if not answer:
            raise ConnectionError("the guest closed the connection")
        return answer

    def close(self) -> None:
        self._lines.close()
        self._socket.close()


@contextlib.contextmanager
def listening(enter: EnterNetwork, address: str) -> Iterator[Any]:
    """A socket that accepts connections of guests, at some port of the fabric's address."""
    with enter():
        listener = socket.create_server((address, 0))
    listener.settimeout(30)
    with listener:
        yield listener
