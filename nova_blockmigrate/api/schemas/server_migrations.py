"""Body of POST /servers/{id}/migrations/{id}/action."""

from __future__ import annotations

from nova_blockmigrate.api.microversions import Versioned
from nova_blockmigrate.api.schemas.types import Schema, document

FORCE_COMPLETE: Versioned[Schema] = Versioned({22: document({"force_complete": {"enum": [None]}}, ["force_complete"])})
