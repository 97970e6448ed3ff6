"""Bodies of PUT on os-services: the old verbs below 2.53, the service's fields from then on."""

from __future__ import annotations

from nova_blockmigrate.api.microversions import Versioned
from nova_blockmigrate.api.schemas.types import BOOLEAN, HOST, Schema, document

_REASON: Schema = {"type": "string", "minLength": 1, "maxLength": 255}
_NAMED: Schema = {"host": HOST, "binary": {"type": "string", "minLength": 1, "maxLength": 255}}
_FIELDS: Schema = {"status": {"enum": ["enabled", "disabled"]}, "disabled_reason": _REASON, "forced_down": BOOLEAN}

UPDATE: Versioned[Schema] = Versioned(
    {
        1: document(_NAMED | {"disabled_reason": _REASON}, ["host", "binary"]),
        11: document(_NAMED | {"disabled_reason": _REASON, "forced_down": BOOLEAN}, ["host", "binary"]),
        53: document(_FIELDS) | {"minProperties": 1},
    }
)
