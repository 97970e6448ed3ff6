"""The API as a service: its HTTP server is eventlet's on eventlet (in `concurrency`), cheroot on native threads."""

from __future__ import annotations

import logging
import threading
from typing import Any

from oslo_config import cfg

from nova_blockmigrate import concurrency, exceptions, rpc
from nova_blockmigrate.api import application
from nova_blockmigrate.db import session

LOG = logging.getLogger(__name__)
_STOP_S = 10


class ApiService:
    """The API as a service that starts and stops."""

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        session.configure(conf)
        make = concurrency.GreenHttpServer if concurrency.mode() == concurrency.EVENTLET else _ThreadServer
        where = (conf.api.listen, conf.api.listen_port)
        tls = conf.api.ssl_cert_file, conf.api.ssl_key_file
        self._server = make(where, application.build(conf), *tls, conf.api.client_timeout, conf.api.threads)
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


class _ThreadServer:
    """cheroot, with the same face as `concurrency.GreenHttpServer`."""

    def __init__(
        self, where: tuple[str, int], app: Any, certificate: str | None, key: str | None, timeout_s: int, threads: int
    ) -> None:
        from cheroot import wsgi

        self._server = wsgi.Server(where, app, numthreads=threads, max=threads, timeout=timeout_s, shutdown_timeout=_STOP_S)
        self._server.server_name = self._server.software = "nova-blockmigrate"
        self._server.error_log = _log_error  # type: ignore[method-assign]
        if certificate:
            from cheroot.ssl.builtin import BuiltinSSLAdapter

            self._server.ssl_adapter = BuiltinSSLAdapter(certificate, key)

    def start(self) -> None:
        self._server.prepare()
        threading.Thread(target=self._server.serve, name="api", daemon=True).start()

    def stop(self) -> None:
        self._server.stop()


def _log_error(msg: str = "", level: int = logging.INFO, traceback: bool = False) -> None:
    """cheroot's errors: clients that hang up, handshakes that fail."""
    LOG.log(level, msg, exc_info=traceback)
