"""The HTTP server: eventlet's on eventlet, cheroot on native threads."""

from __future__ import annotations

import logging
import socket
import threading
from typing import Any

from oslo_config import cfg

from nova_blockmigrate import concurrency, exceptions, rpc
from nova_blockmigrate.api import application
from nova_blockmigrate.db import session

LOG = logging.getLogger(__name__)
_KEEPALIVE_S = 75
_STOP_S = 10


class ApiService:
    """The API as a service that starts and stops."""

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        session.configure(conf)
        make = _EventletServer if concurrency.mode() == concurrency.EVENTLET else _ThreadServer
        self._server = make(conf, application.build(conf))
        self._where = f"{conf.api.listen}:{conf.api.listen_port}"

    def start(self) -> None:
        """
        :raises exceptions.ConfigurationError: the address is in use, or the certificate cannot be read.
        """
        try:
            self._server.start()
        except OSError as error:
            raise exceptions.ConfigurationError(detail=f"cannot listen on {self._where}: {error}") from error
        LOG.info("Listening on %s", self._where)

    def stop(self) -> None:
        """Finish the requests that are being answered, take no more."""
        self._server.stop()
        rpc.cleanup()
        session.dispose()


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


class _EventletServer:
    def __init__(self, conf: cfg.ConfigOpts, app: Any) -> None:
        self._conf = conf.api
        self._app = app
        self._pool: Any = None
        self._thread: Any = None

    def start(self) -> None:
        import eventlet
        import eventlet.wsgi

        listener = eventlet.listen((self._conf.listen, self._conf.listen_port), family=_family(self._conf.listen), reuse_port=False)
        if self._conf.ssl_cert_file:
            listener = eventlet.wrap_ssl(
                listener, certfile=self._conf.ssl_cert_file, keyfile=self._conf.ssl_key_file, server_side=True
            )
        self._pool = eventlet.GreenPool(1000)
        self._thread = eventlet.spawn(
            eventlet.wsgi.server,
            listener,
            self._app,
            custom_pool=self._pool,
            log=logging.getLogger("eventlet.wsgi"),
            log_output=False,
            socket_timeout=_KEEPALIVE_S,
            debug=False,
        )

    def stop(self) -> None:
        import eventlet

        self._thread.kill()
        with eventlet.Timeout(_STOP_S, False):
            self._pool.waitall()


class _ThreadServer:
    def __init__(self, conf: cfg.ConfigOpts, app: Any) -> None:
        from cheroot import wsgi

        self._server = wsgi.Server(
            (conf.api.listen, conf.api.listen_port), app, numthreads=10, max=50, timeout=_KEEPALIVE_S, shutdown_timeout=_STOP_S
        )
        self._server.error_log = _log_error  # type: ignore[method-assign]
        if conf.api.ssl_cert_file:
            from cheroot.ssl.builtin import BuiltinSSLAdapter

            self._server.ssl_adapter = BuiltinSSLAdapter(conf.api.ssl_cert_file, conf.api.ssl_key_file)

    def start(self) -> None:
        self._server.prepare()
        threading.Thread(target=self._server.serve, name="api", daemon=True).start()

    def stop(self) -> None:
        self._server.stop()


def _log_error(msg: str = "", level: int = logging.INFO, traceback: bool = False) -> None:
    """cheroot's errors: clients that hang up, handshakes that fail."""
    LOG.log(level, msg, exc_info=traceback)
