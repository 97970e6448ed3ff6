"""The dry run: a path of our own, as Nova has nothing like it. Answers with what a migration would meet, and changes nothing."""

from __future__ import annotations

from typing import Any

from nova_blockmigrate import exceptions, policies
from nova_blockmigrate.api import errors
from nova_blockmigrate.api.microversions import Versioned
from nova_blockmigrate.api.operations import BROKER_ERRORS
from nova_blockmigrate.api.request import Request
from nova_blockmigrate.api.routes import route
from nova_blockmigrate.db.models import Instance

PREFIX = "/blockmigrate/v1"
_BLOCK_MIGRATION = ("auto", "true", "false")
_QUERY = Versioned({0: frozenset({"host", "block_migration"})})


@route("GET", "/servers/{server_id}/preflight", policy=policies.PREFLIGHT, query=_QUERY, prefix=PREFIX)
def preflight(request: Request, server: Instance) -> dict[str, Any]:
    block_migration = (request.query.text("block_migration") or "auto").lower()
    if block_migration not in _BLOCK_MIGRATION:
        raise exceptions.ValidationError(detail=f"block_migration: use one of {', '.join(_BLOCK_MIGRATION)}")
    try:
        report = request.conductor.preflight(request.context, server.uuid, request.query.text("host") or None, block_migration)
    except BROKER_ERRORS as error:
        raise errors.ConductorUnavailable(action="check the server") from error
    return {"preflight": report | {"server_name": server.display_name}}
