"""Links to resources."""

from __future__ import annotations

from nova_blockmigrate.api.request import Request


def both(request: Request, path: str) -> list[dict[str, str]]:
    """The link within the API version, and the one that lasts beyond it."""
    return [{"rel": "self", "href": f"{request.base_url}/v2.1/{path}"}, bookmark(request, path)]


def bookmark(request: Request, path: str) -> dict[str, str]:
    return {"rel": "bookmark", "href": f"{request.base_url}/{path}"}
