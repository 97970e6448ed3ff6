"""How long a pause QEMU may plan for, as a transfer goes on. Pure: figures in, milliseconds out.

QEMU switches as soon as it believes that what remains fits into the limit, even in the midst of the first pass: a generous
limit from the start gives every guest a long pause. So the limit begins small, and rises to the one configured only for
guests that write faster than they are copied.
"""

from __future__ import annotations

_SHARES = (0.1, 0.1, 0.2, 0.4, 0.7, 1.0)
"""Share of the configured limit, by memory pass (libvirt's `memory_iteration`, which begins at 1)."""
LEAST_MS = 30


def downtime_limit_ms(configured_ms: int, memory_iteration: int) -> int:
    """The limit for this pass."""
    share = _SHARES[min(max(memory_iteration, 1), len(_SHARES)) - 1]
    return min(configured_ms, max(LEAST_MS, round(configured_ms * share)))
