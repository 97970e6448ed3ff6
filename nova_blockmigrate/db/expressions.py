"""Regular expressions that users filter lists by, in SQLite, which has none of its own.

Python's could keep a process busy for ever with a few characters, and nothing else runs meanwhile. RE2 takes time in proportion to
the text, whatever the expression; for that it knows no back references and no looking ahead.
"""

from __future__ import annotations

import functools
import sqlite3
from typing import Any

_KEPT = 64


def install(connection: sqlite3.Connection) -> None:
    """Have SQLite's REGEXP on this connection be ours instead of SQLAlchemy's."""
    connection.create_function("regexp", 2, is_found, deterministic=True)


def is_found(expression: str | None, text: str | None) -> bool | None:
    """Whether an expression is found anywhere in a text; None, as in SQL, when one of them is NULL.

    :raises re2.error: RE2 does not understand it.
    """
    if expression is None or text is None:
        return None
    return _compiled(expression).search(text) is not None


@functools.lru_cache(_KEPT)
def _compiled(expression: str) -> Any:
    import re2  # (other databases do without)

    options = re2.Options()
    options.log_errors = False
    return re2.compile(expression, options)
