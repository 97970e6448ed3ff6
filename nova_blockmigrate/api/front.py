"""What stands before the application, from the outside in: request ids, the addresses of proxies, health, browsers of other
sites (CORS). All of it is oslo.middleware's, with its options.
"""

from __future__ import annotations

from typing import Any

import oslo_middleware
from oslo_config import cfg
from oslo_middleware import cors

from nova_blockmigrate.api import microversions
from nova_blockmigrate.context import RequestContext

HEALTH = "/healthcheck"
_REQUEST_IDS = ("X-OpenStack-Request-ID", "X-Compute-Request-Id")


class RequestId(oslo_middleware.RequestId):
    """Request ids under both names that clients look for. An id that came with the request is kept as the global one."""

    compat_headers = ["x-compute-request-id"]


def around(application: Any, conf: cfg.ConfigOpts) -> Any:
    """The application as a WSGI server gets it."""
    set_cors_defaults()
    application = _WithHealth(oslo_middleware.CORS(application, conf), oslo_middleware.Healthcheck(application, conf))
    return RequestId(_WithContext(oslo_middleware.HTTPProxyToWSGI(application, conf)))


class _WithContext:
    """What is logged before the caller is known names this request, not the one that the thread answered before."""

    def __init__(self, application: Any) -> None:
        self._application = application

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        ids = {name: environ.get(f"openstack.{name}") for name in ("request_id", "global_request_id")}
        RequestContext(**ids)
        return self._application(environ, start_response)


class _WithHealth:
    """oslo.middleware's health check under a path of its own; load balancers ask there, without a token."""

    def __init__(self, application: Any, health: Any) -> None:
        self._application, self._health = application, health

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        asked = environ.get("PATH_INFO", "").rstrip("/") == HEALTH
        return (self._health if asked else self._application)(environ, start_response)


def set_cors_defaults() -> None:
    """What scripts of allowed sites may send and see; entry point `oslo.config.opts.defaults`."""
    ours = [microversions.HEADER, microversions.LEGACY_HEADER, *_REQUEST_IDS]
    sent = ["X-Auth-Token", "X-Identity-Status", "X-Roles", "X-Service-Catalog", "X-User-Id", "X-Tenant-Id"]
    cors.set_defaults(
        allow_headers=[*sent, *ours],
        expose_headers=["X-Auth-Token", "X-Subject-Token", "X-Service-Token", *ours],
        allow_methods=["GET", "PUT", "POST", "DELETE", "PATCH"],
    )
