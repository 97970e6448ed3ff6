"""The HTTP server of native threads: cheroot, with the same face as `concurrency.GreenHttpServer`.

cheroot alone greets TLS clients in the one thread that accepts connections, where a client that connects and says nothing would
keep all others out. Here each is greeted by the thread that then serves it, and not for long.
"""

from __future__ import annotations

import logging
import ssl
import threading
from typing import Any

from cheroot import errors, server, wsgi
from cheroot.ssl.builtin import BuiltinSSLAdapter

LOG = logging.getLogger(__name__)
_STOP_S = 10
_GREETING_S = 10
"""How long a client may take for the handshake; `client_timeout` if that is less."""


class ThreadServer:
    def __init__(
        self, where: tuple[str, int], app: Any, certificate: str | None, key: str | None, timeout_s: int, threads: int
    ) -> None:
        self._server = wsgi.Server(where, app, numthreads=threads, max=threads, timeout=timeout_s, shutdown_timeout=_STOP_S)
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
