"""Limits: what a project may have, and has."""

from __future__ import annotations

from typing import Any

from nova_blockmigrate import policies
from nova_blockmigrate.api import quota
from nova_blockmigrate.api.microversions import Versioned
from nova_blockmigrate.api.request import Request
from nova_blockmigrate.api.routes import route
from nova_blockmigrate.db import session

_QUERY: Versioned[frozenset[str]] = Versioned({1: frozenset("*"), 75: frozenset({"tenant_id"})})
_MAXIMA = {
    "maxTotalInstances": "instances",
    "maxTotalCores": "cores",
    "maxTotalRAMSize": "ram",
    "maxServerMeta": "metadata_items",
    "maxTotalKeypairs": "key_pairs",
    "maxServerGroups": "server_groups",
    "maxServerGroupMembers": "server_group_members",
}
_USED = {
    "totalInstancesUsed": "instances",
    "totalCoresUsed": "cores",
    "totalRAMUsed": "ram",
    "totalServerGroupsUsed": "server_groups",
}


@route("GET", "/limits", policy=policies.LIMITS, query=_QUERY)
def show(request: Request) -> dict[str, Any]:
    own = request.context.project_id or ""
    project_id = request.query.text("tenant_id") or own
    if project_id != own:
        request.authorize(policies.LIMITS_OTHER_PROJECT, {"project_id": project_id})
    with session.reader() as db:
        limits, used = quota.of(request, db, project_id).limits, quota.used(db, project_id)
    absolute = {name: limits[resource] for name, resource in _MAXIMA.items()}
    absolute |= {name: used[resource] for name, resource in _USED.items()}
    return {"limits": {"rate": [], "absolute": absolute | _gone_by_now(request.microversion)}}


def _gone_by_now(minor: int) -> dict[str, int]:
    """What later microversions have dropped: nothing of it is limited here."""
    names = ["maxTotalFloatingIps", "maxSecurityGroups", "maxSecurityGroupRules"] if minor < 36 else []
    names += ["maxImageMeta"] if minor < 39 else []
    names += ["maxPersonality", "maxPersonalitySize"] if minor < 57 else []
    used = {"totalFloatingIpsUsed": 0, "totalSecurityGroupsUsed": 0} if minor < 36 else {}
    return dict.fromkeys(names, quota.UNLIMITED) | used
