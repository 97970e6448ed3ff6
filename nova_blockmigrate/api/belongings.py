"""What a new server gets from its user beside image, flavor and networks: key pair, server group, access addresses; and whether
the project may have it at all.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import orm

from nova_blockmigrate import exceptions
from nova_blockmigrate.api import quota
from nova_blockmigrate.api.request import Request
from nova_blockmigrate.db.models import Flavor
from nova_blockmigrate.db.queries import key_pairs, server_groups

_HINTS = ("os:scheduler_hints", "OS-SCH-HNT:scheduler_hints")


class InvalidKeyName(exceptions.Invalid):
    template = "Invalid key_name provided: user {user} has no key pair {name}."


def columns(db: orm.Session, request: Request, flavor: Flavor, count: int) -> dict[str, Any]:
    """Columns of the new servers' rows.

    :raises quota.QuotaExceeded:
    :raises exceptions.Invalid: something named does not exist.
    """
    body = request.body["server"]
    quota.check_servers(request, db, count, flavor.vcpus, flavor.memory_mib)
    limits = quota.of(request, db, request.context.project_id or "")
    limits.check("metadata_items", 0, len(body.get("metadata") or {}))
    return {
        "key_name": _key_name(db, request, body.get("key_name")),
        "server_group_id": _group(db, request, limits, count),
        "access_ip_v4": body.get("accessIPv4") or None,
        "access_ip_v6": body.get("accessIPv6") or None,
    }


def _key_name(db: orm.Session, request: Request, name: str | None) -> str | None:
    if name is None:
        return None
    user = request.context.user_id or ""
    try:
        return key_pairs.get(db, user, name).name
    except key_pairs.KeyPairNotFound as error:
        raise InvalidKeyName(user=user, name=name) from error


def _group(db: orm.Session, request: Request, limits: quota.Limits, count: int) -> str | None:
    hints: dict[str, Any] = next((request.body[key] for key in _HINTS if key in request.body), {})
    asked = hints.get("group")
    if asked is None:
        return None
    try:
        group = server_groups.get(db, asked, request.context.project_id or "")
    except server_groups.ServerGroupNotFound as error:  # the fault is in the body, not in the path
        raise exceptions.Invalid(error.message) from error
    limits.check("server_group_members", len(server_groups.members(db, [group.id])[group.id]), count)
    return group.id
