"""Limits: there are no quotas, so every maximum is -1; what is used is counted."""

from __future__ import annotations

from typing import Any

from nova_blockmigrate import policies
from nova_blockmigrate.api.request import Request
from nova_blockmigrate.api.routes import route
from nova_blockmigrate.db import session
from nova_blockmigrate.db.queries import server_lists

_UNLIMITED = -1


@route("GET", "/limits", policy=policies.LIMITS)
def show(request: Request) -> dict[str, Any]:
    with session.reader() as db:
        servers, vcpus, memory_mib = server_lists.totals(db, request.context.project_id or "")
    minor = request.microversion
    names = ["maxTotalInstances", "maxTotalCores", "maxTotalRAMSize", "maxServerMeta", "maxTotalKeypairs", "maxServerGroups"]
    names += ["maxServerGroupMembers"]
    names += ["maxTotalFloatingIps", "maxSecurityGroups", "maxSecurityGroupRules"] if minor < 36 else []
    names += ["maxImageMeta"] if minor < 39 else []
    names += ["maxPersonality", "maxPersonalitySize"] if minor < 57 else []
    used = {"totalInstancesUsed": servers, "totalCoresUsed": vcpus, "totalRAMUsed": memory_mib, "totalServerGroupsUsed": 0}
    used |= {"totalFloatingIpsUsed": 0, "totalSecurityGroupsUsed": 0} if minor < 36 else {}
    return {"limits": {"rate": [], "absolute": dict.fromkeys(names, _UNLIMITED) | used}}
