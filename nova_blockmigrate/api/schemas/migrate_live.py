"""Body of os-migrateLive.

2.25 drops disk_over_commit and adds "auto"; 2.30 adds force; 2.34 answers before the checks; 2.68 drops force.
"""

from __future__ import annotations

from nova_blockmigrate.api.microversions import Versioned
from nova_blockmigrate.api.schemas.types import BOOLEAN, HOST_OR_NONE, Schema, document, wrapped

_BOOLEAN_OR_AUTO: Schema = {"enum": [*BOOLEAN["enum"], "auto"]}
_ALWAYS: Schema = {"host": HOST_OR_NONE, "block_migration": _BOOLEAN_OR_AUTO}


def _body(properties: Schema, required: list[str]) -> Schema:
    return wrapped("os-migrateLive", document(properties, required))


BODY: Versioned[Schema] = Versioned(
    {
        1: _body(
            {"host": HOST_OR_NONE, "block_migration": BOOLEAN, "disk_over_commit": BOOLEAN},
            ["host", "block_migration", "disk_over_commit"],
        ),
        25: _body(_ALWAYS, ["host", "block_migration"]),
        30: _body(_ALWAYS | {"force": BOOLEAN}, ["host", "block_migration"]),
        68: _body(_ALWAYS, ["host", "block_migration"]),
    }
)
