"""The WSGI application: routes, errors, request ids and authentication put together."""

from __future__ import annotations

import importlib
import logging
import pkgutil
import re
import time
from typing import Any

import falcon
from oslo_config import cfg
from oslo_policy import opts as policy_options
from oslo_policy import policy

from nova_blockmigrate import policies
from nova_blockmigrate.api import auth, errors, front, handlers, image_catalogue, routes
from nova_blockmigrate.api.request import Deployment
from nova_blockmigrate.conductor.rpcapi import ConductorAPI
from nova_blockmigrate.network import backend
from nova_blockmigrate.notifications import sending

ACCESS_LOG = logging.getLogger("nova_blockmigrate.api.access")
_OTHER_SERVICE = re.compile(r"/v2\.1(?:/v2|/v2\.0)?/(?P<collection>images|networks)(?P<rest>(?:/.*)?)")
_PREFIX_OF_OTHER = {"images": "/v2/images", "networks": "/v2.0/networks"}
_SWAPPED_MIGRATION = re.compile(r"/v2\.1/servers/(?P<migration>\d+)/migrations/(?P<server>[0-9a-f-]{36})")
_WITH_PROJECT = re.compile(r"/v2\.1/(?P<project>[0-9a-fA-F-]{32,36}|[\w.-]+)(?P<path>/[a-z].*)")


def build(conf: cfg.ConfigOpts, conductor: ConductorAPI | None = None) -> Any:
    """The application. The database must be configured; without `conductor` it is reached through the message broker."""
    sending.configure(conf)
    conductors = conductor or ConductorAPI(conf)
    deployment = Deployment(conf, conductors, enforcer(conf), image_catalogue.load(conf), backend.load(conf))
    for module in pkgutil.iter_modules(handlers.__path__):
        importlib.import_module(f"{handlers.__name__}.{module.name}")
    app: Any = falcon.App(middleware=[_Paths(), _AccessLog()])
    app.req_options.strip_url_path_trailing_slash = True
    errors.register(app)
    routes.install(app, deployment, auth.authenticator(conf))
    return front.around(auth.wrap(app, conf), conf)


def enforcer(conf: cfg.ConfigOpts) -> policy.Enforcer:
    policy_options._register(conf)
    made = policy.Enforcer(conf)
    made.suppress_default_change_warnings = True
    made.register_defaults(policies.list_rules())
    return made


def canonical_path(path: str, collections: frozenset[str]) -> str:
    """The path as the routes know it.

    Clients that have only the compute endpoint look for images and networks below it: `nova` at /v2.1/v2/images, `openstack`
    at /v2.1/images. Old ones put the project before the collection (/v2.1/PROJECT/servers). And `openstack server migration
    show` (openstackclient 10.5) sends the ids of server and migration in each other's place.
    """
    if match := _OTHER_SERVICE.fullmatch(path):
        return _PREFIX_OF_OTHER[match["collection"]] + match["rest"]
    if match := _SWAPPED_MIGRATION.fullmatch(path):
        return f"/v2.1/servers/{match['server']}/migrations/{match['migration']}"
    if (match := _WITH_PROJECT.fullmatch(path)) and match["project"] not in collections:
        return "/v2.1" + match["path"]
    return path


class _Paths:
    def __init__(self) -> None:
        self._collections: frozenset[str] = frozenset()

    def process_request(self, req: falcon.Request, resp: falcon.Response) -> None:
        if not self._collections:
            self._collections = frozenset(each.path.split("/")[2] for each in routes.declared if each.path.count("/") > 1)
        req.path = canonical_path(req.path, self._collections)


class _AccessLog:
    """One line for each request."""

    def process_request(self, req: falcon.Request, resp: falcon.Response) -> None:
        req.context.received = time.monotonic()

    def process_response(self, req: falcon.Request, resp: falcon.Response, resource: object, succeeded: bool) -> None:
        caller = getattr(req.context, "caller", None)
        ACCESS_LOG.info(
            '%s %s "%s %s" status: %s len: %s microversion: %s time: %.4f',
            req.env.get("openstack.request_id", "-"),
            req.remote_addr,
            req.method,
            req.relative_uri,
            resp.status_code,
            len(resp.data or b""),
            f"2.{req.context.microversion}" if hasattr(req.context, "microversion") else "-",
            time.monotonic() - req.context.received,
            extra={"context": caller} if caller else None,
        )
