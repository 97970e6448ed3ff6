"""os-vif behind its process: what is asked of it, and what becomes of it when it ends."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from nova_blockmigrate import attendant
from nova_blockmigrate.exceptions import NetworkError
from nova_blockmigrate.network import links, osvif_helper, osvif_plugin
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


def built(vif: Vif, uplink: str = "", datapath: str = "") -> Any:
    """os-vif's object that comes of a request."""
    import os_vif

    os_vif.objects.register_all()
    requests: list[dict[str, Any]] = []
    client = OsVif("compute1")
    client._attendant = SimpleNamespace(ask=lambda request: requests.append(request) or {"error": ""})  # type: ignore[assignment]
    client.plug(vif, uplink, datapath)
    return osvif_helper.build(requests[0])


def test_a_request_for_a_linux_bridge_names_its_uplink() -> None:
    vif = built(dataclasses.replace(VIF, mtu=1450), "eth1.100")
    assert (type(vif).__name__, vif.plugin) == ("VIFBridge", "blockmigrate_bridge")
    assert (vif.bridge_name, vif.network.bridge_interface, vif.network.mtu) == ("br7", "eth1.100", 1450)


@pytest.mark.parametrize(
    ("kind", "bridge", "name"), [(VifType.OVS, "br-int", "VIFOpenVSwitch"), (VifType.OVS_HYBRID, "qbr6e783272-31", "VIFBridge")]
)
def test_a_request_for_open_vswitch_leaves_its_bridge_as_it_is(kind: VifType, bridge: str, name: str) -> None:
    vif = built(dataclasses.replace(VIF, vif_type=kind, bridge=bridge, ovs_bridge="br-int"), datapath="netdev")
    assert (type(vif).__name__, vif.plugin, vif.bridge_name, vif.network.bridge) == (name, "ovs", bridge, "br-int")
    assert (vif.port_profile.interface_id, vif.port_profile.datapath_type) == (VIF.port_id, "netdev")
    assert not vif.port_profile.create_port, "libvirt makes the tap and its port"


@pytest.mark.parametrize(
    ("exists", "writable", "connection"), [(True, True, "unix:"), (False, False, "unix:"), (True, False, "tcp:")]
)
def test_os_vif_asks_open_vswitch_by_its_socket_where_it_may(
    monkeypatch: pytest.MonkeyPatch, exists: bool, writable: bool, connection: str
) -> None:
    from vif_plug_ovs.ovs import OvsPlugin

    conf = osvif_helper.cfg.ConfigOpts()
    monkeypatch.setattr(osvif_helper.cfg, "CONF", conf)
    monkeypatch.setattr(osvif_helper.os.path, "exists", lambda path: exists)
    monkeypatch.setattr(osvif_helper.os, "access", lambda path, mode: writable)
    osvif_helper.ask_open_vswitch_by_its_socket()
    conf.register_opts(OvsPlugin.CONFIG_OPTS, "os_vif_ovs")
    assert conf.os_vif_ovs.ovsdb_connection.startswith(connection)


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
