"""Whether a guest's bridges are there, told without touching them."""

from pathlib import Path

import pytest

from nova_blockmigrate.exceptions import HypervisorError
from nova_blockmigrate.network import bridge
from nova_blockmigrate.objects import Vif


def test_a_bridge_that_exists_is_fine(tmp_path: Path) -> None:
    (tmp_path / "br100" / "bridge").mkdir(parents=True)
    assert bridge.missing(["br100", "br100"], str(tmp_path)) == []


def test_each_missing_bridge_is_named_once_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "eth0").mkdir()
    absent, no_bridge = bridge.missing(["br100", "br100", "eth0"], str(tmp_path))
    assert "br100 does not exist" in absent
    assert "create it" in absent
    assert "eth0 is not a bridge" in no_bridge


def test_plugging_into_a_missing_bridge_fails() -> None:
    with pytest.raises(HypervisorError, match="no-such-bridge"):
        bridge.plug([Vif("p", "fa:16:3e:00:00:01", "no-such-bridge", "tap0")])
