"""Routes, declared beside their handlers, and the way of a request through one.

`@route` and `@action` say method and path, who may (policy), what the body looks like and from which microversion to
which. A request is authenticated, its microversion negotiated, its server found, authorised, validated; only then does
the handler see it. Handlers return what becomes JSON, or None for an empty body.
"""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Callable, Mapping
from typing import Any

import falcon
import jsonschema

from nova_blockmigrate import exceptions
from nova_blockmigrate.api import auth, microversions, reading, unserved
from nova_blockmigrate.api.microversions import Versioned
from nova_blockmigrate.api.query import Query
from nova_blockmigrate.api.request import Deployment, Request, Response
from nova_blockmigrate.api.schemas.types import FORMATS
from nova_blockmigrate.context import RequestContext
from nova_blockmigrate.db import models, session
from nova_blockmigrate.db.queries import instances

Handler = Callable[..., Any]
Schema = dict[str, Any]
PREFIX = "/v2.1"


@dataclasses.dataclass(frozen=True)
class Route:
    method: str
    path: str
    handler: Handler
    policy: str | None
    """Rule that must allow it; None: any valid token."""
    status: int
    body: Versioned[Schema] | None
    query: Versioned[frozenset[str]] | None
    """The only query parameters accepted, from the microversion that began to be strict; None: any."""
    minimum: int
    maximum: int
    action: str | None
    """The key of the body that selects this route among those of the same path."""
    deleted_servers_from: int | None
    """Microversion from which the path may name a deleted server."""
    authenticated: bool

    def serves(self, minor: int) -> bool:
        return self.minimum <= minor <= self.maximum


declared: list[Route] = []


def route(
    method: str,
    path: str,
    *,
    policy: str | None = None,
    status: int = 200,
    body: Versioned[Schema] | None = None,
    query: Versioned[frozenset[str]] | None = None,
    minimum: int = microversions.MINIMUM,
    maximum: int = microversions.MAXIMUM,
    action: str | None = None,
    deleted_servers_from: int | None = None,
    authenticated: bool = True,
    prefix: str = PREFIX,
) -> Callable[[Handler], Handler]:
    """Declare a handler. Parameters of the path are passed by name; {server_id} becomes the server itself, `server`."""

    def declare(handler: Handler) -> Handler:
        declared.append(
            Route(
                method, prefix + path, handler, policy, status, body, query, minimum, maximum, action,
                deleted_servers_from, authenticated,
            )
        )  # fmt: skip
        return handler

    return declare


def action(
    name: str, *, path: str = "/servers/{server_id}/action", status: int = 202, **options: Any
) -> Callable[[Handler], Handler]:
    """Declare the handler of `POST .../action` with the key `name`."""
    return route("POST", path, action=name, status=status, **options)


def install(app: falcon.App[Any, Any], deployment: Deployment, authenticator: auth.Authenticator) -> None:
    """Give `app` every declared route."""
    by_path: dict[str, dict[str, list[Route]]] = {}
    for each in declared:
        by_path.setdefault(each.path, {}).setdefault(each.method, []).append(each)
    for path, by_method in by_path.items():
        app.add_route(path, _Resource(by_method, deployment, authenticator))


class _Resource:
    """What falcon wants to have for a path: on_get, on_post, … for the methods that it has."""

    def __init__(self, by_method: dict[str, list[Route]], deployment: Deployment, authenticator: auth.Authenticator) -> None:
        for method, routes in by_method.items():
            responder = functools.partial(self._respond, routes)
            setattr(self, f"on_{method.lower()}", responder)
        self._deployment = deployment
        self._authenticator = authenticator

    def _respond(self, routes: list[Route], req: falcon.Request, resp: falcon.Response, **parameters: str) -> None:
        minor = _negotiate(req, resp)
        if routes[0].authenticated:
            context = self._authenticator.authenticate(req.env)
            req.context.caller = context
        else:
            context = RequestContext(request_id=req.env.get("openstack.request_id"))
        _refuse_paths_of_nothing(parameters)
        document = reading.body(req, self._deployment.conf.api.max_request_body_size)
        chosen = _choose(routes, minor, document)
        request = Request(
            context=context,
            microversion=minor,
            body=document[chosen.action] if chosen.action else document,
            query=Query.of(req.query_string),
            base_url=req.prefix,
            path=req.path,
            deployment=self._deployment,
        )
        context.is_admin = chosen.authenticated and request.can("context_is_admin")
        arguments = _find_server(request, chosen, parameters)
        _authorize(request, chosen, arguments.get("server"))
        _validate(request, chosen, document)
        _answer(resp, chosen, session.retried(chosen.handler)(request, **arguments))


def _negotiate(req: falcon.Request, resp: falcon.Response) -> int:
    minor = microversions.requested(req.get_header(microversions.HEADER), req.get_header(microversions.LEGACY_HEADER))
    req.context.microversion = minor
    resp.set_headers(microversions.headers(minor))
    return minor


def _refuse_paths_of_nothing(parameters: Mapping[str, str]) -> None:
    """
    :raises exceptions.NotFound: nothing can have such a name.
    """
    if not all(reading.is_text(value) for value in parameters.values()):
        raise exceptions.NotFound("The resource could not be found.")


def _choose(routes: list[Route], minor: int, document: Any) -> Route:
    """The route for the microversion; among actions, the one that the body names."""
    if routes[0].action:
        if not isinstance(document, dict) or len(document) != 1:
            raise exceptions.ValidationError(detail="the body must be an object with one key, the action")
        name = next(iter(document))
        routes = [each for each in routes if each.action == name]
        if not routes:
            raise unserved.refusal(name)
    serving = [each for each in routes if each.serves(minor)]
    if not serving:
        raise exceptions.NotFound(f"The resource could not be found in microversion 2.{minor}.")
    return serving[0]


def _find_server(request: Request, chosen: Route, parameters: Mapping[str, str]) -> dict[str, Any]:
    """The handler's arguments: the path's parameters, with the server for its id."""
    arguments: dict[str, Any] = dict(parameters)
    if "server_id" in arguments:
        uuid = arguments.pop("server_id")
        also_deleted = chosen.deleted_servers_from is not None and request.microversion >= chosen.deleted_servers_from
        with session.reader() as db:
            arguments["server"] = instances.get(db, uuid, include_deleted=also_deleted)
    return arguments


def _authorize(request: Request, chosen: Route, server: models.Instance | None) -> None:
    """Of other projects' servers who may do nothing with them learns nothing.

    :raises exceptions.Forbidden:
    :raises exceptions.InstanceNotFound: what is forbidden would be done to a server of another project.
    """
    target = None if server is None else {"project_id": server.project_id, "user_id": server.user_id}
    if chosen.policy is None or request.can(chosen.policy, target):
        return
    if server is not None and server.project_id != request.context.project_id and not request.context.is_admin:
        raise exceptions.InstanceNotFound(instance_id=server.uuid)
    raise exceptions.Forbidden(action=chosen.policy)


def _validate(request: Request, chosen: Route, document: Any) -> None:
    if chosen.query is not None:
        unknown = sorted(set(request.query.names()) - chosen.query.at(request.microversion))
        if unknown and "*" not in chosen.query.at(request.microversion):
            raise exceptions.ValidationError(detail=f"unknown query parameters: {', '.join(unknown)}")
    if chosen.body is None:
        return
    if document is None:
        raise exceptions.ValidationError(detail="the request needs a JSON body")
    error = next(_validator(json.dumps(chosen.body.at(request.microversion))).iter_errors(document), None)
    if error is not None:
        where = "/".join(str(part) for part in error.absolute_path) or "the body"
        raise exceptions.ValidationError(detail=f"{where}: {error.message}")


@functools.cache
def _validator(schema: str) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(json.loads(schema), format_checker=FORMATS)


def _answer(resp: falcon.Response, chosen: Route, result: Any) -> None:
    status = chosen.status
    if isinstance(result, Response):
        resp.set_headers(dict(result.headers))
        status, result = result.status or status, result.body
    resp.status = falcon.code_to_http_status(status)
    if result is not None:
        resp.content_type = "application/json"
        resp.data = json.dumps(result).encode()
