"""The HTTP server of native threads, which are for those who ask something."""

from __future__ import annotations

import contextlib
import http.client
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from nova_blockmigrate import concurrency
from nova_blockmigrate.api.thread_server import ThreadServer

THREADS, CLIENT_TIMEOUT_S, TEST_TIMEOUT_S = 2, 3600, 20
pytestmark = pytest.mark.skipif(concurrency.mode() == concurrency.EVENTLET, reason="this server is for native threads")


def hello(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    start_response("200 OK", [("Content-Length", "5")])
    return [environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0)) or b"hello"]


@pytest.fixture
def port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    server = ThreadServer(("127.0.0.1", port), hello, None, None, CLIENT_TIMEOUT_S, THREADS)
    server.start()
    yield port
    server.stop()


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=TEST_TIMEOUT_S)


def ask(port: int, connection: http.client.HTTPConnection | None = None, body: bytes | None = None) -> bytes:
    connection = connection or http.client.HTTPConnection("127.0.0.1", port, timeout=TEST_TIMEOUT_S)
    connection.request("POST" if body else "GET", "/", body)
    return connection.getresponse().read()


@pytest.mark.parametrize("said", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: x\r\n"], ids=["none", "half a line", "half a head"])
def test_clients_that_do_not_say_what_they_want_take_no_thread(port: int, said: bytes) -> None:
    with contextlib.ExitStack() as silent:
        for _ in range(3 * THREADS):
            silent.enter_context(connect(port)).sendall(said)
        assert ask(port) == b"hello"


def test_a_request_may_come_in_pieces(port: int) -> None:
    with connect(port) as slow:
        for piece in (b"POST / HT", b"TP/1.1\r\nHost: x\r\nContent-Le", b"ngth: 5\r\n", b"\r\n", b"wor", b"ld"):
            slow.sendall(piece)
            assert ask(port) == b"hello"  # (by then the piece has been seen)
        answer = b""
        while not answer.endswith(b"world"):
            answer += slow.recv(1000)
    assert answer.startswith(b"HTTP/1.1 200")


def test_one_connection_serves_one_request_after_the_other(port: int) -> None:
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=TEST_TIMEOUT_S)) as kept, connect(port):
        assert ask(port, kept) == b"hello"
        first = kept.sock
        assert ask(port, kept, b"world") == b"world"
        assert kept.sock is first


def test_a_client_that_hangs_up_is_let_go(port: int) -> None:
    with connect(port) as gone:
        gone.sendall(b"GET / HTTP/1.1\r\n")
        gone.shutdown(socket.SHUT_WR)
        while gone.recv(1000):
            pass
    assert ask(port) == b"hello"
