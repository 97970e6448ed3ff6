"""Bodies about the metadata of servers."""

from __future__ import annotations

from nova_blockmigrate.api.microversions import Versioned
from nova_blockmigrate.api.schemas.types import Schema, wrapped

METADATA: Schema = {
    "type": "object",
    "propertyNames": {"pattern": r"^[a-zA-Z0-9-_:. ]{1,255}$"},
    "additionalProperties": {"type": "string", "maxLength": 255},
}
ALL: Versioned[Schema] = Versioned({1: wrapped("metadata", METADATA)})
ONE: Versioned[Schema] = Versioned({1: wrapped("meta", METADATA | {"minProperties": 1, "maxProperties": 1})})
