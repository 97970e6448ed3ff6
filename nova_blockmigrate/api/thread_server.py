"""The HTTP server of native threads: cheroot, with the same face as `concurrency.GreenHttpServer`.

cheroot alone gives each client that connects a thread, and greets TLS clients in the one that accepts connections: a few that
connect and say nothing would keep all others out. Here who has not said yet what it wants waits with no thread, as others do
between two requests; TLS clients that begin to speak are greeted by the thread that then serves them, and not for long.
"""

from __future__ import annotations

import logging
import socket
import ssl
import threading
from typing import Any

from cheroot import errors, server, wsgi
from cheroot.ssl.builtin import BuiltinSSLAdapter

LOG = logging.getLogger(__name__)
_STOP_S = 10
_GREETING_S = 10
"""How long a client may take for the handshake; `client_timeout` if that is less."""
_LONG_HEAD_BYTES = 16 * 1024
"""Who has said that much of a request gets a thread for the rest."""


class ThreadServer:
    def __init__(
        self, where: tuple[str, int], app: Any, certificate: str | None, key: str | None, timeout_s: int, threads: int
    ) -> None:
        self._server = _Server(where, app, numthreads=threads, max=threads, timeout=timeout_s, shutdown_timeout=_STOP_S)
        self._server.server_name = self._server.software = "nova-blockmigrate"
        self._server.error_log = _log_error  # type: ignore[method-assign]
        if certificate:
            self._server.ssl_adapter = _Adapter(certificate, key)
            self._server.ConnectionClass = _TlsConnection

    def start(self) -> None:
        self._server.prepare()
        threading.Thread(target=self._server.serve, name="api", daemon=True).start()

    def stop(self) -> None:
        self._server.stop()


class _Server(wsgi.Server):
    keep_alive_conn_limit = 500  # (those that wait count: silent ones are not to end what others keep up)

    def process_conn(self, conn: Any) -> None:
        """Called when a client connects, and whenever one that waits has said something."""
        if conn.rfile.has_data() or _deserves_thread(conn.socket):
            super().process_conn(conn)
            return
        since = conn.last_used
        self.put_conn(conn)
        conn.last_used = since or conn.last_used  # a word now and then does not prolong its time


def _deserves_thread(client: socket.socket) -> bool:
    """Whether a client has said the head of a request, or what cannot be waited for without a thread. If it has not, the kernel
    tells of it again when it has said more."""
    patience_s = client.gettimeout()
    client.settimeout(0)
    try:
        if isinstance(client, ssl.SSLSocket):
            socket.socket.recv(client, 1, socket.MSG_PEEK)  # (what it says is TLS's, which only a handshake understands)
            return True
        said = client.recv(_LONG_HEAD_BYTES, socket.MSG_PEEK)
        awaited_bytes = client.getsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT)
        is_over = len(said) < awaited_bytes or len(said) == _LONG_HEAD_BYTES  # it has hung up, or goes on for ever
        deserves = is_over or b"\n\r\n" in said or b"\n\n" in said
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1 if deserves else len(said) + 1)
    except BlockingIOError:
        return False
    except OSError:
        return True  # the thread meets it again, and closes the connection
    finally:
        client.settimeout(patience_s)
    return deserves


class _Adapter(BuiltinSSLAdapter):
    """Makes TLS sockets without greeting the client."""

    def wrap(self, sock: Any) -> tuple[Any, dict[str, str]]:
        try:
            wrapped = self.context.wrap_socket(sock, do_handshake_on_connect=False, server_side=True)
        except OSError as error:  # it has hung up already
            raise errors.FatalSSLAlert(*error.args) from error
        return wrapped, {"HTTPS": "on"}


class _TlsConnection(server.HTTPConnection):
    _greeted = False

    def communicate(self) -> bool:
        """Serve one request; whether there may be another on this connection."""
        if not self._greeted and not self._greet():
            return False
        self._greeted = True
        cheroots: Any = super()
        return bool(cheroots.communicate())

    def _greet(self) -> bool:
        patience_s = self.socket.gettimeout()
        try:
            self.socket.settimeout(min(patience_s, _GREETING_S))
            self.socket.do_handshake()
            self.socket.settimeout(patience_s)
        except (OSError, ssl.CertificateError) as error:
            LOG.info("A client of %s spoke no TLS: %s", getattr(self, "remote_addr", None), error)
            return False
        return True


def _log_error(msg: str = "", level: int = logging.INFO, traceback: bool = False) -> None:
    """cheroot's errors: clients that hang up."""
    LOG.log(level, msg, exc_info=traceback)
