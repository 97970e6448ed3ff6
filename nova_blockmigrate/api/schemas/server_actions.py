"""Bodies of POST /servers/{id}/action, other than os-migrateLive."""

from __future__ import annotations

from nova_blockmigrate.api.microversions import Versioned
from nova_blockmigrate.api.schemas.types import COUNT, Schema, anything, document, wrapped


def plain(name: str) -> Versioned[Schema]:
    """An action without arguments."""
    return Versioned({1: anything(name)})


REBOOT: Versioned[Schema] = Versioned(
    {1: wrapped("reboot", document({"type": {"enum": ["HARD", "Hard", "hard", "SOFT", "Soft", "soft"]}}, ["type"]))}
)
LOCK: Versioned[Schema] = Versioned(
    {
        1: anything("lock"),
        73: wrapped(
            "lock", {"anyOf": [{"type": "null"}, document({"locked_reason": {"type": "string", "minLength": 1, "maxLength": 255}})]}
        ),
    }
)
_STATE: Schema = document({"state": {"enum": ["active", "error"]}}, ["state"])
RESET_STATE: Versioned[Schema] = Versioned({1: wrapped("os-resetState", _STATE)})
_GROUP_NAME: Schema = document({"name": {"type": "string", "minLength": 1, "maxLength": 255}}, ["name"])


def security_group(name: str) -> Versioned[Schema]:
    """addSecurityGroup and removeSecurityGroup."""
    return Versioned({1: wrapped(name, _GROUP_NAME)})


_LENGTH: Schema = {"anyOf": [COUNT, {"enum": [None, -1, "-1"]}]}
CONSOLE_OUTPUT: Versioned[Schema] = Versioned({1: wrapped("os-getConsoleOutput", document({"length": _LENGTH}))})
