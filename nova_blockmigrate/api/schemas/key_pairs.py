"""Bodies and query parameters of os-keypairs.

2.2 adds the type, 2.10 the user, 2.35 pages; 2.92 wants the public key, and takes "@" and "." in names.
"""

from __future__ import annotations

from typing import Any

from nova_blockmigrate.api.microversions import Versioned
from nova_blockmigrate.api.schemas.types import Schema, document, wrapped


def _named(characters: str) -> dict[str, Any]:
    name = {"type": "string", "minLength": 1, "maxLength": 255, "pattern": rf"^(?! )[{characters}]+(?<! )$"}
    return {"name": name, "public_key": {"type": "string"}}


_OLD, _NEW = _named(r"a-zA-Z0-9 _-"), _named(r"a-zA-Z0-9 _@.-")
_TYPE: Schema = {"type": {"type": "string", "enum": ["ssh", "x509"]}}
_USER: Schema = {"user_id": {"type": "string", "maxLength": 255}}

CREATE: Versioned[Schema] = Versioned(
    {
        1: wrapped("keypair", document(_OLD, ["name"])),
        2: wrapped("keypair", document(_OLD | _TYPE, ["name"])),
        10: wrapped("keypair", document(_OLD | _TYPE | _USER, ["name"])),
        92: wrapped("keypair", document(_NEW | _TYPE | _USER, ["name", "public_key"])),
    }
)
LIST: Versioned[frozenset[str]] = Versioned({1: frozenset("*"), 75: frozenset({"user_id", "limit", "marker"})})
ONE: Versioned[frozenset[str]] = Versioned({1: frozenset("*"), 75: frozenset({"user_id"})})
