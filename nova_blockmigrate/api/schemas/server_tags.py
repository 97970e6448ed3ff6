"""Tags of servers: their form, and the body that replaces them."""

from __future__ import annotations

import re

from nova_blockmigrate import exceptions
from nova_blockmigrate.api.microversions import Versioned
from nova_blockmigrate.api.schemas.types import Schema, document

MOST = 50
"""Tags of one server."""
TAG: Schema = {"type": "string", "minLength": 1, "maxLength": 60, "pattern": "^[^,/]*$"}
TAGS: Schema = {"type": "array", "items": TAG, "maxItems": MOST}
REPLACE: Versioned[Schema] = Versioned({26: document({"tags": TAGS}, ["tags"])})


def refuse_unless_tag(text: str) -> None:
    """
    :raises exceptions.ValidationError:
    """
    if not 1 <= len(text) <= TAG["maxLength"] or not re.match(TAG["pattern"], text):
        raise exceptions.ValidationError(detail=f"{text!r} is no tag: 1 to {TAG['maxLength']} characters, without comma and slash")
