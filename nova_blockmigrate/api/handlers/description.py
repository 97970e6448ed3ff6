"""GET /blockmigrate/v1/openapi.json: what is served in the microversion that is asked for. Needs no token."""

from __future__ import annotations

from typing import Any

from nova_blockmigrate.api import openapi
from nova_blockmigrate.api.request import Request
from nova_blockmigrate.api.routes import route


@route("GET", "/openapi.json", authenticated=False, prefix="/blockmigrate/v1")
def show(request: Request) -> dict[str, Any]:
    return openapi.document(request.microversion)
