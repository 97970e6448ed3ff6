"""The API as a service: its HTTP server is eventlet's on eventlet (in `concurrency`), cheroot on native threads
(in `thread_server`)."""

from __future__ import annotations

import logging
from typing import Any

from oslo_config import cfg

from nova_blockmigrate import concurrency, exceptions, rpc
from nova_blockmigrate.api import application
from nova_blockmigrate.db import session

LOG = logging.getLogger(__name__)


class ApiService:
    """The API as a service that starts and stops."""

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        session.configure(conf)
        where = (conf.api.listen, conf.api.listen_port)
        tls = conf.api.ssl_cert_file, conf.api.ssl_key_file
        self._server = _server_class()(where, application.build(conf), *tls, conf.api.client_timeout, conf.api.threads)
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


def _server_class() -> Any:
    if concurrency.mode() == concurrency.EVENTLET:
        return concurrency.GreenHttpServer
    from nova_blockmigrate.api.thread_server import ThreadServer  # (cheroot is for native threads)

    return ThreadServer
