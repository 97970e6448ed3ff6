"""Linux bridges as a plugin of os-vif, which has none of its own any more (since its version 5).

os-vif loads it by its entry point and calls it in the helper process (`osvif_helper.py`). What is shared by guests, and when
it goes, is counted by `bridge.py`; here one interface gets the bridge that it needs.
"""

from __future__ import annotations

from typing import Any

import os_vif.objects.host_info
from os_vif import plugin

from nova_blockmigrate.network import links

NAME = "blockmigrate_bridge"


class LinuxBridge(plugin.PluginBase):  # type: ignore[misc]
    """Plugs a VIFBridge: the bridge, with `network.bridge_interface` in it when one is named. libvirt makes the tap."""

    def describe(self) -> Any:
        info = os_vif.objects.host_info
        vif = info.HostVIFInfo(vif_object_name="VIFBridge", min_version="1.0", max_version="1.0")
        return info.HostPluginInfo(plugin_name=NAME, vif_info=[vif])

    def plug(self, vif: Any, instance_info: Any) -> None:
        """:raises NetworkError: `ip` refused."""
        bridge, uplink = vif.bridge_name, vif.network.bridge_interface
        commands = []
        if not links.exists(bridge):
            commands += [("ip", "link", "add", "name", bridge, "type", "bridge"), ("ip", "link", "set", "dev", bridge, "up")]
        if uplink and links.bridge_of(uplink) != bridge:
            commands += [("ip", "link", "set", "dev", uplink, "master", bridge), ("ip", "link", "set", "dev", uplink, "up")]
        links.change("this host", f"plug {vif.vif_name}", commands)

    def unplug(self, vif: Any, instance_info: Any) -> None:
        """The tap has ended with its QEMU; others may use the bridge."""
