"""Bodies of POST and PUT on flavors."""

from __future__ import annotations

from nova_blockmigrate.api.microversions import Versioned
from nova_blockmigrate.api.schemas.types import BOOLEAN, COUNT, DESCRIPTION, NAME, POSITIVE, Schema, document, wrapped

_NONE: Schema = {"enum": [0, "0", "", None]}
_FLAVOR: Schema = {
    "name": NAME,
    "id": {"type": ["string", "number", "null"], "minLength": 1, "maxLength": 255, "pattern": r"^(?! )[a-zA-Z0-9. _-]+(?<! )$"},
    "ram": POSITIVE,
    "vcpus": POSITIVE,
    "disk": COUNT,
    "swap": _NONE,
    "OS-FLV-EXT-DATA:ephemeral": _NONE,
    "rxtx_factor": {"type": ["number", "string"]},
    "os-flavor-access:is_public": BOOLEAN,
}
_REQUIRED = ["name", "ram", "vcpus", "disk"]

CREATE: Versioned[Schema] = Versioned(
    {
        1: wrapped("flavor", document(_FLAVOR, _REQUIRED)),
        55: wrapped("flavor", document(_FLAVOR | {"description": DESCRIPTION}, _REQUIRED)),
    }
)
UPDATE: Versioned[Schema] = Versioned({55: wrapped("flavor", document({"description": DESCRIPTION}, ["description"]))})

_PROJECT: Schema = document({"tenant": {"type": "string", "minLength": 1, "maxLength": 255}}, ["tenant"])
ADD_ACCESS: Versioned[Schema] = Versioned({1: wrapped("addTenantAccess", _PROJECT)})
REMOVE_ACCESS: Versioned[Schema] = Versioned({1: wrapped("removeTenantAccess", _PROJECT)})

_SPECS: Schema = {
    "type": "object",
    "propertyNames": {"pattern": r"^[a-zA-Z0-9-_:. ]{1,255}$"},
    "additionalProperties": {"type": ["string", "number"], "maxLength": 255},
}
EXTRA_SPECS: Versioned[Schema] = Versioned({1: wrapped("extra_specs", _SPECS)})
EXTRA_SPEC: Versioned[Schema] = Versioned({1: _SPECS | {"minProperties": 1, "maxProperties": 1}})
