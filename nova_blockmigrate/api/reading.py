"""The body of a request as JSON, with nothing in it that a database or an answer could not hold.

Refused beside what is not JSON: nesting that no body of ours has, half characters (surrogates), NUL, and numbers that JSON has
no word for.
"""

from __future__ import annotations

import json
import math
from typing import Any

import falcon

from nova_blockmigrate import exceptions
from nova_blockmigrate.api import errors

_DEEPEST = 50
"""The deepest body of ours has 6 levels; Python gives up somewhere below 1,000."""


def body(req: falcon.Request, limit: int) -> Any:
    """The document; None if there is none.

    :raises errors.RequestTooLarge:
    :raises exceptions.ValidationError:
    """
    if (req.content_length or 0) > limit:
        raise errors.RequestTooLarge(limit=limit)
    text = req.bounded_stream.read(limit + 1)
    if len(text) > limit:
        raise errors.RequestTooLarge(limit=limit)
    if not text.strip():
        return None
    try:
        document = json.loads(text)
    except ValueError as error:
        raise exceptions.ValidationError(detail=f"the body is not JSON: {error}") from error
    except RecursionError as error:
        raise _too_deep() from error
    _refuse_what_cannot_be_kept(document)
    return document


def is_text(text: str) -> bool:
    """Whether every database can hold it."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\x00" not in text


def _refuse_what_cannot_be_kept(document: Any) -> None:
    level = [document]
    for _ in range(_DEEPEST):
        if not level:
            return
        for value in level:
            if isinstance(value, str) and not is_text(value):
                raise exceptions.ValidationError(detail="the body has a character that is none: NUL, or half of a surrogate pair")
            if isinstance(value, float) and not math.isfinite(value):
                raise exceptions.ValidationError(detail="the body has a number that is too large, or none")
        level = [inner for value in level for inner in _inside(value)]
    raise _too_deep()


def _inside(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [*value.keys(), *value.values()]
    return value if isinstance(value, list) else []


def _too_deep() -> exceptions.ValidationError:
    return exceptions.ValidationError(detail=f"the body is nested deeper than {_DEEPEST} levels")
