"""The two ways in which Nova writes times, both UTC."""

from __future__ import annotations

import datetime


def zulu(time: datetime.datetime | None) -> str | None:
    """2026-01-02T03:04:05Z: of servers."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ") if time else None


def precise(time: datetime.datetime | None) -> str | None:
    """2026-01-02T03:04:05.000000: of migrations, actions and services."""
    return time.strftime("%Y-%m-%dT%H:%M:%S.%f") if time else None
