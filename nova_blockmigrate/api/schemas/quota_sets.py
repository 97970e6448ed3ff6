"""Which quotas there are in which microversion, and the bodies that change them.

2.36 drops those of networks (of classes: 2.50), 2.57 those of injected files. Classes know server groups from 2.50 on.
"""

from __future__ import annotations

from typing import Any

from oslo_utils import strutils

from nova_blockmigrate.api.microversions import Versioned
from nova_blockmigrate.api.schemas.types import BOOLEAN, LIMIT, Schema, document, wrapped

_PLAIN = ("instances", "cores", "ram", "metadata_items", "key_pairs")
_GROUPS = ("server_groups", "server_group_members")
_NETWORK = ("fixed_ips", "floating_ips", "security_groups", "security_group_rules")
_INJECTED = ("injected_files", "injected_file_content_bytes", "injected_file_path_bytes")


def names(minor: int) -> tuple[str, ...]:
    return _PLAIN + _GROUPS + (_NETWORK if minor < 36 else ()) + (_INJECTED if minor < 57 else ())


def class_names(minor: int) -> tuple[str, ...]:
    return _PLAIN + (_GROUPS if minor >= 50 else _NETWORK) + (_INJECTED if minor < 57 else ())


def truth(value: Any) -> bool:
    return bool(strutils.bool_from_string(value))


def _body(key: str, allowed: tuple[str, ...], more: dict[str, Schema]) -> Schema:
    return wrapped(key, document({name: LIMIT for name in (*allowed, *more)} | more))


def _update(minor: int) -> Schema:
    return _body("quota_set", names(minor), {"force": BOOLEAN})


UPDATE: Versioned[Schema] = Versioned({1: _update(1), 36: _update(36), 57: _update(57)})
UPDATE_CLASS: Versioned[Schema] = Versioned(
    {
        1: _body("quota_class_set", class_names(1) + _GROUPS, {}),
        50: _body("quota_class_set", class_names(50), {}),
        57: _body("quota_class_set", class_names(57), {}),
    }
)
USER: Versioned[frozenset[str]] = Versioned({1: frozenset("*"), 75: frozenset({"user_id"})})
