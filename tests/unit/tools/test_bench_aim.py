"""The aim of the driver for Nova, as `tools/bench overhead --nova` judges it."""

from __future__ import annotations

import pytest

from benchkit.overhead_nova import beyond_aim

VIRSH = {"pause": 0.08, "running": 1.0, "active": 1.2}
NOVA = {"pause": 0.08, "running": 2.6, "active": 3.4}


@pytest.mark.parametrize(
    ("ours", "missed"),
    [
        ({"pause": 0.15, "running": 1.8, "active": 2.3}, []),
        ({"pause": 0.05, "running": 1.9, "active": 2.2}, ["running"]),
        ({"pause": 0.08, "running": 1.0, "active": 2.4}, ["active"]),
        ({"pause": 0.30, "running": 1.0, "active": 1.2}, ["pause"]),
    ],
)
def test_half_of_what_nova_adds_to_virsh(ours: dict[str, float], missed: list[str]) -> None:
    assert beyond_aim({"virsh": VIRSH, "nova": NOVA, "ours": ours}) == missed
