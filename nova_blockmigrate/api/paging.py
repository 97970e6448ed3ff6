"""Lists in pages: limit and marker of a request, and the link to the next page."""

from __future__ import annotations

import urllib.parse
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from nova_blockmigrate import exceptions
from nova_blockmigrate.api.query import number
from nova_blockmigrate.api.request import Request
from nova_blockmigrate.db.queries import rows

T = TypeVar("T")


def limit(request: Request) -> int:
    """How many items the answer may have."""
    most: int = request.conf.api.max_limit
    text = request.query.text("limit") or ""
    if text.isascii() and text.isdigit() and number(text) is None:
        return most  # a client's way to say: all
    asked = request.query.integer("limit")
    return most if asked is None else min(asked, most)


def page(request: Request, columns: Mapping[str, str | None], default: Iterable[tuple[str, bool]]) -> rows.Page:
    """The page that a request asks for, one row more than shown: it tells whether there is a next page.

    `columns` maps what may be sorted by to its column (None: to nothing that rows differ in); `default` is the order when none is
    asked for, in the one direction that is given, if one is.
    """
    keys, directions = request.query.texts("sort_key"), request.query.texts("sort_dir")
    if len(directions) > max(1, len(keys)):
        raise exceptions.ValidationError(detail="there are more sort_dir than sort_key")
    for direction in directions:
        if direction not in ("asc", "desc"):
            raise exceptions.ValidationError(detail=f"sort_dir {direction!r}: use asc or desc")
    sort = []
    for index, key in enumerate(keys):
        if key not in columns:
            raise exceptions.ValidationError(detail=f"sort_key {key!r}: use one of {', '.join(sorted(columns))}")
        direction = directions[min(index, len(directions) - 1)] if directions else "desc"
        if (column := columns[key]) is not None:
            sort.append((column, direction == "desc"))
    if directions and not keys:
        default = [(column, directions[0] == "desc") for column, _ in default]
    return rows.Page(limit=limit(request) + 1, marker=request.query.text("marker"), sort=tuple(sort or default))


def links(
    request: Request, key: str, found: list[T], marker: Callable[[T], Any]
) -> tuple[list[T], dict[str, list[dict[str, str]]]]:
    """The rows to show, and the link to the next page under `key` if there are more."""
    shown = found[: limit(request)]
    if len(found) <= len(shown) or not shown:
        return shown, {}
    parameters = [(key, value) for key in request.query.names() for value in request.query.texts(key) if key != "marker"]
    query = urllib.parse.urlencode([*parameters, ("marker", marker(shown[-1]))])
    return shown, {key: [{"rel": "next", "href": f"{request.base_url}{request.path}?{query}"}]}
