"""os-vif behind its process: what is asked of it, and what becomes of it when it ends."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from nova_blockmigrate import attendant
from nova_blockmigrate.exceptions import NetworkError
from nova_blockmigrate.network import links, openvswitch, osvif, osvif_helper, osvif_plugin
from nova_blockmigrate.network.osvif import OsVif
from nova_blockmigrate.objects import Vif, VifType

VIF = Vif("6e783272-31b5-4fdc-8828-2b8892daab39", "fa:16:3e:00:00:01", "br7", "tap6e783272-31")
ECHO = "import json, sys\nfor line in sys.stdin: print(json.dumps({'error': json.loads(line)['plugin']}), flush=True)\n"


@pytest.fixture
def helper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A process that answers with the plugin's name, or what the test writes instead."""
    script = tmp_path / "helper.py"
    script.write_text(ECHO)
    popen = attendant.subprocess.Popen
    monkeypatch.setattr(attendant.subprocess, "Popen", lambda argv, **options: popen([argv[0], str(script)], **options))
    return script


def test_the_plugins_refusal_is_an_error_with_its_words(helper: Path) -> None:
    client = OsVif("compute1")
    with pytest.raises(NetworkError, match="blockmigrate_bridge"):
        client.plug(VIF)
    client.close()


def test_a_process_that_ended_is_started_again(helper: Path) -> None:
    client = OsVif("compute1")
    helper.write_text("raise SystemExit(1)")
    with pytest.raises(NetworkError, match=r"cannot be reached|ended or hangs"):
        client.plug(VIF)
    helper.write_text(ECHO.replace("json.loads(line)['plugin']", "''"))
    client.plug(VIF)
    client.close()


@pytest.mark.parametrize(("kind", "name"), [(VifType.BRIDGE, "VIFBridge"), (VifType.OVS, "VIFOpenVSwitch")])
def test_requests_become_os_vifs_objects(kind: VifType, name: str) -> None:
    import os_vif

    os_vif.objects.register_all()
    request = {"plugin": osvif.PLUGINS[kind], "port_id": VIF.port_id, "mac": VIF.mac, "bridge": "br7", "tap": VIF.tap, "mtu": 1450}
    built = osvif_helper.build(request | {"uplink": "eth1.100"})
    assert type(built).__name__ == name
    assert (built.bridge_name, built.network.bridge_interface, built.network.mtu) == ("br7", "eth1.100", 1450)


def test_the_plugin_makes_what_is_missing_and_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links, "CLASS_NET", str(tmp_path))
    changes: list[list[str]] = []
    monkeypatch.setattr(links, "change", lambda host, action, commands: changes.append([" ".join(one) for one in commands]))
    vif = SimpleNamespace(bridge_name="br7", vif_name="tap7", network=SimpleNamespace(bridge_interface="eth1.7"))
    plugin = osvif_plugin.LinuxBridge(None)
    plugin.plug(vif, None)
    (tmp_path / "br7").mkdir()
    (tmp_path / "eth1.7").mkdir()
    (tmp_path / "eth1.7" / "master").symlink_to(tmp_path / "br7")
    plugin.plug(vif, None)
    assert changes[0][0] == "ip link add name br7 type bridge"
    assert "ip link set dev eth1.7 master br7" in changes[0]
    assert changes[1] == []


def test_a_host_without_open_vswitch_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openvswitch.shutil, "which", lambda name: None)
    assert "openvswitch-switch" in openvswitch.why_not(VIF)
