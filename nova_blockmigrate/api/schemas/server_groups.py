"""Bodies and query parameters of os-server-groups.

2.15 adds the soft policies; 2.64 has one policy instead of a list of one, and rules for it.
"""

from __future__ import annotations

from typing import Any

from nova_blockmigrate import exceptions
from nova_blockmigrate.api.microversions import Versioned
from nova_blockmigrate.api.schemas.types import NAME, POSITIVE, Schema, document, wrapped
from nova_blockmigrate.objects import GroupPolicy

_HARD = [GroupPolicy.ANTI_AFFINITY.value, GroupPolicy.AFFINITY.value]
_ALL = [*_HARD, GroupPolicy.SOFT_ANTI_AFFINITY.value, GroupPolicy.SOFT_AFFINITY.value]


def _listed(policies: list[str]) -> Schema:
    fields = {"name": NAME, "policies": {"type": "array", "items": {"enum": policies}, "minItems": 1, "maxItems": 1}}
    return wrapped("server_group", document(fields, ["name", "policies"]))


CREATE: Versioned[Schema] = Versioned(
    {
        1: _listed(_HARD),
        15: _listed(_ALL),
        64: wrapped(
            "server_group",
            document(
                {"name": NAME, "policy": {"enum": _ALL}, "rules": document({"max_server_per_host": POSITIVE})}, ["name", "policy"]
            ),
        ),
    }
)
LIST: Versioned[frozenset[str]] = Versioned({1: frozenset("*"), 75: frozenset({"all_projects", "limit", "offset"})})


def refuse_rules_without_anti_affinity(policy: str, rules: dict[str, Any]) -> None:
    """
    :raises exceptions.ValidationError:
    """
    if rules and policy != GroupPolicy.ANTI_AFFINITY:
        raise exceptions.ValidationError(detail="Only anti-affinity policy supports rules.")
