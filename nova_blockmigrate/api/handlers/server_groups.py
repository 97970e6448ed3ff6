"""os-server-groups: servers that shall be together, or apart."""

from __future__ import annotations

from typing import Any

from nova_blockmigrate import policies
from nova_blockmigrate.api import paging, quota
from nova_blockmigrate.api.request import Request
from nova_blockmigrate.api.routes import route
from nova_blockmigrate.api.schemas import server_groups as schemas
from nova_blockmigrate.db import session
from nova_blockmigrate.db.models import Instance
from nova_blockmigrate.db.project_models import ServerGroup
from nova_blockmigrate.db.queries import server_groups

_ONE = "/os-server-groups/{group_id}"


@route("GET", "/os-server-groups", policy=policies.SERVER_GROUPS_INDEX, query=schemas.LIST)
def index(request: Request) -> dict[str, Any]:
    everybody = "all_projects" in request.query and request.can(policies.SERVER_GROUPS_ALL)
    offset = request.query.integer("offset") or 0
    with session.reader() as db:
        project_id = None if everybody else request.context.project_id or ""
        found = server_groups.search(db, project_id, offset, paging.limit(request))
        members = server_groups.members(db, [group.id for group in found])
    return {"server_groups": [_view(request, group, members[group.id]) for group in found]}


@route("GET", _ONE, policy=policies.SERVER_GROUPS_SHOW)
def show(request: Request, group_id: str) -> dict[str, Any]:
    with session.reader() as db:
        group = server_groups.get(db, group_id, _owner(request))
        return {"server_group": _view(request, group, server_groups.members(db, [group_id])[group_id])}


@route("POST", "/os-server-groups", policy=policies.SERVER_GROUPS_CREATE, body=schemas.CREATE)
def create(request: Request) -> dict[str, Any]:
    wanted, project_id = request.body["server_group"], request.context.project_id or ""
    policy, rules = wanted.get("policy") or wanted["policies"][0], wanted.get("rules", {})
    schemas.refuse_rules_without_anti_affinity(policy, rules)
    with session.writer() as db:
        quota.of(request, db, project_id).check("server_groups", server_groups.count(db, project_id), 1)
        group = server_groups.create(
            db,
            project_id=project_id,
            user_id=request.context.user_id or "",
            name=wanted["name"],
            policy=policy,
            rules={name: int(value) for name, value in rules.items()},
        )
    return {"server_group": _view(request, group, [])}


@route("DELETE", _ONE, policy=policies.SERVER_GROUPS_DELETE, status=204)
def delete(request: Request, group_id: str) -> None:
    with session.writer() as db:
        server_groups.get(db, group_id, _owner(request))
        server_groups.delete(db, group_id)


def _owner(request: Request) -> str | None:
    """Whose groups the caller may see; None: everybody's."""
    return None if request.context.is_admin else request.context.project_id or ""


def _view(request: Request, group: ServerGroup, members: list[Instance]) -> dict[str, Any]:
    shown: dict[str, Any] = {"id": group.id, "name": group.name, "members": [server.uuid for server in members]}
    if request.microversion >= 64:
        shown |= {"policy": group.policy, "rules": group.rules}
    else:
        shown |= {"policies": [group.policy], "metadata": {}}
    if request.microversion >= 13:
        shown |= {"project_id": group.project_id, "user_id": group.user_id}
    return shown
