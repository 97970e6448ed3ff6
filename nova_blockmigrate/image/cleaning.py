"""Bases in a host's cache that no guest needs any more: which may go, and their going.

Only what this service has made or brought, and what has not changed since (`manifest`). When a base was needed last is the time of
its manifest, so it outlives restarts.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection

from nova_blockmigrate.image import cache
from nova_blockmigrate.image.manifest import Manifests


def remove_unused(
    directory: str,
    manifests: Manifests,
    used: Collection[str],
    is_listed: Callable[[str], bool],
    minimum_age_s: float,
    now_s: float,
) -> tuple[str, ...]:
    """Remove bases that were needed last more than `minimum_age_s` ago; returns their paths.

    `used`: real paths of files that guests of this host read. `is_listed`: whether a ledger of this host lists a base now. Who
    begins to need one lists it first, and then looks for it under the same lock as this does.
    """
    if not os.path.isdir(directory):
        return ()
    removed = []
    for path in sorted(os.path.join(directory, name) for name in os.listdir(directory)):
        if not manifests.is_ours(path):
            continue
        if os.path.realpath(path) in used or any(map(is_listed, cache.names_of(path))):
            manifests.note_use(path, now_s)
        elif now_s - manifests.last_use(path) >= minimum_age_s and _remove(path, manifests, is_listed):
            removed.append(path)
    return tuple(removed)


def _remove(path: str, manifests: Manifests, is_listed: Callable[[str], bool]) -> bool:
    with cache.making(path):
        if any(map(is_listed, cache.names_of(path))) or not manifests.is_ours(path):
            return False
        os.unlink(path)
        manifests.forget(path)
        return True
