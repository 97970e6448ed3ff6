"""The forms that fields of bodies share."""

from __future__ import annotations

from typing import Any

import jsonschema

from nova_blockmigrate.api.query import LARGEST, number

Schema = dict[str, Any]
FORMATS = jsonschema.FormatChecker()
"""Those of JSON Schema, and ours."""


def _is_small(value: Any) -> bool:
    """Numbers have `maximum`; this is for those that come as a string."""
    return not isinstance(value, str) or number(value.removeprefix("-").rstrip("\n")) is not None


FORMATS.checkers["int32"] = (_is_small, ())

_WORDS = ("true", "on", "t", "yes", "y", "1", "false", "off", "f", "no", "n", "0")
_SPELLINGS = [spelling for word in _WORDS for spelling in (word, word.upper(), word.capitalize())]
BOOLEAN: Schema = {"enum": [True, False, *dict.fromkeys(_SPELLINGS)]}
"""JSON's own, and the words that Nova takes for them."""
NAME: Schema = {"type": "string", "minLength": 1, "maxLength": 255, "pattern": r"^(?!\s)[^\x00-\x1f]*(?<!\s)$"}
DESCRIPTION: Schema = {"type": ["string", "null"], "maxLength": 255}
HOST: Schema = {"type": "string", "minLength": 1, "maxLength": 255, "pattern": r"^[a-zA-Z0-9_.-]+$"}
HOST_OR_NONE: Schema = HOST | {"type": ["string", "null"]}
UUID: Schema = {"type": "string", "pattern": r"^[0-9a-fA-F]{8}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{12}$"}
_NUMBER: Schema = {"type": ["integer", "string"], "maximum": LARGEST, "format": "int32"}
POSITIVE: Schema = _NUMBER | {"pattern": r"^[1-9][0-9]*$", "minimum": 1}
COUNT: Schema = _NUMBER | {"pattern": r"^[0-9]+$", "minimum": 0}
LIMIT: Schema = _NUMBER | {"pattern": r"^(-1|[0-9]+)$", "minimum": -1}
"""-1: none."""


def document(properties: Schema, required: list[str] | None = None, extra: bool = False) -> Schema:
    """An object of these properties; other keys are refused unless `extra`."""
    return {"type": "object", "properties": properties, "required": required or [], "additionalProperties": extra}


def wrapped(key: str, value: Schema) -> Schema:
    """The object that has nothing but `key`."""
    return document({key: value}, [key])


def only(value: Any) -> Schema:
    return {"enum": [value]}


def anything(key: str) -> Schema:
    """An action whose argument does not matter."""
    return wrapped(key, {})
