"""os-migrations: all migrations, finished ones too."""

from __future__ import annotations

from typing import Any

from nova_blockmigrate import policies
from nova_blockmigrate.api import paging
from nova_blockmigrate.api.microversions import Versioned
from nova_blockmigrate.api.request import Request
from nova_blockmigrate.api.routes import route
from nova_blockmigrate.api.views import migrations as views
from nova_blockmigrate.db import session
from nova_blockmigrate.db.queries import migration_lists

_FILTERS_59 = frozenset(
    {"hidden", "host", "instance_uuid", "source_compute", "status", "migration_type", "limit", "marker", "changes-since"}
)
_QUERY: Versioned[frozenset[str]] = Versioned(
    {
        1: frozenset("*"),
        59: _FILTERS_59,
        66: _FILTERS_59 | {"changes-before"},
        80: _FILTERS_59 | {"changes-before", "user_id", "project_id"},
    }
)
_COLUMNS = ("instance_uuid", "source_compute", "status", "migration_type")


@route("GET", "/os-migrations", policy=policies.MIGRATIONS_INDEX, query=_QUERY)
def index(request: Request) -> dict[str, Any]:
    if request.query.boolean("hidden"):
        return {"migrations": []}  # ours are never hidden
    paged = request.microversion >= 59
    limit = paging.limit(request) + 1 if paged else None
    with session.reader() as db:
        found = migration_lists.search(db, _filters(request), limit, request.query.text("marker") if paged else None)
    shown, links = paging.links(request, "migrations_links", found, lambda each: each.uuid) if paged else (found, {})
    with_hosts = request.can(policies.MIGRATIONS_HOST)
    return {"migrations": [views.listed(request, migration, with_hosts) for migration in shown]} | links


def _filters(request: Request) -> migration_lists.Filters:
    query = request.query
    equal = [(name, query.text(name)) for name in _COLUMNS if name in query]
    if request.microversion >= 80:
        equal += [(name, query.text(name)) for name in ("user_id", "project_id") if name in query]
    if not request.can(policies.MIGRATIONS_ALL_PROJECTS):
        equal.append(("project_id", request.context.project_id))
    since, before = query.changes(request.microversion >= 59, request.microversion >= 66)
    return migration_lists.Filters(
        host=query.text("host"),
        changed_since=since,
        changed_before=before,
        equal=tuple(equal),
    )
