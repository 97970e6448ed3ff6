"""Which host is best (pure): for new servers, and for migrations that name no destination."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable


@dataclasses.dataclass(frozen=True)
class Candidate:
    """A host as the database knows it."""

    host: str
    up: bool
    disabled: bool
    free_memory_mib: int
    """Beyond what its guests have and what is promised to those on their way."""
    free_disk_bytes: int
    moving: int = 0
    """Migrations from and to it that are under way."""
    refusal: str = ""
    """Why the server's group does not allow it there."""
    distance: int = 0
    """The smaller, the more the server's group wants it there."""


def rank(candidates: Iterable[Candidate], memory_mib: int, exclude: frozenset[str] = frozenset()) -> list[str]:
    """Hosts that may take a guest of `memory_mib`, best first: where its group wants it, the idle ones, then those
    with most memory and disk."""
    fit = [
        one
        for one in candidates
        if one.up and not one.disabled and not one.refusal and one.host not in exclude and one.free_memory_mib >= memory_mib
    ]
    fit.sort(key=lambda one: (one.distance, one.moving, -one.free_memory_mib, -one.free_disk_bytes, one.host))
    return [one.host for one in fit]


def why_none(candidates: Iterable[Candidate], memory_mib: int, exclude: frozenset[str] = frozenset()) -> str:
    """Why `rank` found nobody, host by host."""
    reasons = []
    for one in candidates:
        if one.host in exclude:
            continue
        if not one.up:
            reasons.append(f"{one.host}: its compute service does not report")
        elif one.disabled:
            reasons.append(f"{one.host}: its compute service is disabled")
        elif one.refusal:
            reasons.append(f"{one.host}: {one.refusal}")
        elif one.free_memory_mib < memory_mib:
            reasons.append(f"{one.host}: {one.free_memory_mib} MiB of memory free, {memory_mib} MiB needed")
    return "; ".join(reasons) or "There is no other compute host."
