"""Query parameters of os-simple-tenant-usage; 2.40 adds pages."""

from __future__ import annotations

from nova_blockmigrate.api.microversions import Versioned

_PERIOD = frozenset({"start", "end"})
_PAGE = frozenset({"limit", "marker"})
LIST: Versioned[frozenset[str]] = Versioned({1: frozenset("*"), 75: _PERIOD | _PAGE | {"detailed"}})
ONE: Versioned[frozenset[str]] = Versioned({1: frozenset("*"), 75: _PERIOD | _PAGE})
