"""The OpenAPI description of what is served, for one microversion: routes and bodies as declared, answers as in `schemas.answers`.

Served at /blockmigrate/v1/openapi.json; printed by `python -m nova_blockmigrate.api.openapi [MINOR]`.
"""

from __future__ import annotations

import importlib
import json
import pkgutil
import re
import sys
from typing import Any

from nova_blockmigrate.api import handlers, microversions, routes
from nova_blockmigrate.api.routes import Route
from nova_blockmigrate.api.schemas import answers
from nova_blockmigrate.api.schemas.types import Schema

_JSON = "application/json"
_NO_BODY = (202, 204)
_NEVER_A_BODY = ("PUT /servers/{server_id}/tags/{tag}",)


def document(minor: int) -> dict[str, Any]:
    """The description of 2.`minor`."""
    for module in pkgutil.iter_modules(handlers.__path__):
        importlib.import_module(f"{handlers.__name__}.{module.name}")
    paths: dict[str, dict[str, Any]] = {}
    for each in (one for one in routes.declared if one.serves(minor)):
        operation = paths.setdefault(each.path, {}).setdefault(each.method.lower(), {})
        _add(operation, each, minor)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "nova-blockmigrate",
            "version": f"2.{minor}",
            "description": "The Compute API as nova-blockmigrate serves it, and what is its own.",
        },
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {"token": {"type": "apiKey", "in": "header", "name": "X-Auth-Token"}},
            "schemas": {"Error": answers.ERROR},
        },
    }


def _add(operation: dict[str, Any], route: Route, minor: int) -> None:
    """A route, or one more of the actions that share a path."""
    operation.setdefault("operationId", f"{route.method.lower()}_{re.sub(r'[^a-z0-9]+', '_', route.path.lower()).strip('_')}")
    operation.setdefault("parameters", _parameters(route, minor))
    if not route.authenticated:
        operation["security"] = []
    answer_to = operation.setdefault("responses", {"4XX": _content(route, {"$ref": "#/components/schemas/Error"})})
    name = f"{route.method} {route.path.removeprefix(routes.PREFIX) or route.path}" + (f" {route.action}" if route.action else "")
    for status in _statuses(route, minor):
        answer_to[str(status)] = (
            {"description": "done, or taken"} if _is_empty(route, status, name) else _content(route, answers.answer(name, minor))
        )
    if route.body is not None:
        _add_body(operation, route.body.at(minor), is_action=route.action is not None)


def _is_empty(route: Route, status: int, name: str) -> bool:
    """Whether the answer has no body."""
    return name in _NEVER_A_BODY or ((status in _NO_BODY or route.method == "DELETE") and name not in answers.ANSWERS)


def _add_body(operation: dict[str, Any], schema: Schema, is_action: bool) -> None:
    body = operation.setdefault(
        "requestBody", {"required": True, "content": {_JSON: {"schema": {"oneOf": []} if is_action else schema}}}
    )
    if is_action:
        body["content"][_JSON]["schema"]["oneOf"].append(schema)


def _statuses(route: Route, minor: int) -> tuple[int, ...]:
    """The route's own, and what handlers answer instead in some cases."""
    name = f"{route.method} {route.path.removeprefix(routes.PREFIX)}"
    if "os-keypairs" in name and route.method in ("POST", "DELETE"):
        return {("POST", True): (201,), ("POST", False): (200,), ("DELETE", True): (204,), ("DELETE", False): (202,)}[
            route.method, minor >= 2
        ]
    others = {"PUT /servers/{server_id}/tags/{tag}": (204,), "POST /os-server-external-events": (207,)}
    return (route.status, *others.get(name, ()))


def _content(route: Route, schema: Schema) -> dict[str, Any]:
    return {"description": "as Nova's" if route.path.startswith(routes.PREFIX) else "", "content": {_JSON: {"schema": schema}}}


def _parameters(route: Route, minor: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        for name in re.findall(r"\{(\w+)\}", route.path)
    ]
    for name in sorted((route.query.at(minor) if route.query else frozenset()) - {"*"}):
        found.append({"name": name, "in": "query", "schema": {"type": "string"}})
    return found


if __name__ == "__main__":
    asked = int(sys.argv[1]) if len(sys.argv) > 1 else microversions.MAXIMUM
    json.dump(document(asked), sys.stdout, indent=1)
