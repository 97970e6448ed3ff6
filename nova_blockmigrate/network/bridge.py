"""Linux bridges: a network's bridge and its uplink, made when they are not there, gone with the last guest; and ports of Open
vSwitch's, whose bridges are never made here.

libvirt makes the tap itself and hangs it on the bridge when QEMU starts; the tap ends with QEMU.
"""

from __future__ import annotations

from collections.abc import Iterable

from nova_blockmigrate.exceptions import NetworkError
from nova_blockmigrate.network import links, openvswitch, segments
from nova_blockmigrate.network.book import Book, Entry
from nova_blockmigrate.network.osvif import OsVif
from nova_blockmigrate.network.segments import Uplink
from nova_blockmigrate.network.settings import NetworkSettings
from nova_blockmigrate.objects import SegmentKind, Vif, VifType

_ANY_MAC, _ANY_TAIL = "00:00:00:00:00:00", "00-0000-0000-000000000000"
"""What os-vif needs of an interface and a port's id, to forget what is named after the first eleven letters of that."""
_INFO_KIND = {SegmentKind.VLAN: "vlan", SegmentKind.VXLAN: "vxlan"}


class Bridges:
    """The bridges of this host."""

    def __init__(self, settings: NetworkSettings, osvif: OsVif) -> None:
        self._settings = settings
        self._osvif = osvif
        self._book = Book(settings.book)

    def why_not(self, vif: Vif) -> str:
        """Why the vif cannot be connected here, in words with what to do; empty when it can. Changes nothing."""
        if vif.switch:
            return openvswitch.why_not(vif)
        try:
            uplink = segments.uplink_of(vif, self._settings)
        except LookupError as error:
            return str(error)
        if uplink is not None and (problem := self._uplink_problem(vif, uplink)):
            return problem
        if links.exists(vif.bridge):
            return "" if links.is_bridge(vif.bridge) else f"{vif.bridge} is not a bridge on this host: correct the network's bridge"
        if uplink is None:
            return f"bridge {vif.bridge} does not exist on this host: create it, or correct the network's bridge"
        return self._may_not_make(f"bridge {vif.bridge}")

    def plug(self, vif: Vif) -> None:
        """See that the vif's bridge is there and leads to the other hosts.

        :raises NetworkError: it cannot be had.
        """
        with self._book.bridge(vif.bridge) as entry:
            if reason := self.why_not(vif):
                raise NetworkError(host=self._settings.host, action=f"connect {vif.tap}", reason=reason)
            self._note(entry.taps, vif.tap)
            if vif.switch:
                self._plug_into_switch(entry, vif)
                return
            uplink = segments.uplink_of(vif, self._settings)
            if not links.exists(vif.bridge):
                self._note(entry.made, vif.bridge)
            if uplink is not None:
                self._lead(entry, vif, uplink)
            self._osvif.plug(vif, uplink.name if uplink else "")

    def _plug_into_switch(self, entry: Entry, vif: Vif) -> None:
        if vif.vif_type is VifType.OVS:
            self._note(entry.ports, vif.tap)
        else:
            self._prepare_hybrid(entry, vif)
        self._osvif.plug(vif, datapath=openvswitch.datapath_of(vif.switch))

    def _prepare_hybrid(self, entry: Entry, vif: Vif) -> None:
        """Note what os-vif is about to make. Of a pair of devices that is there it believes that Open vSwitch has it: one that
        was left half way goes first."""
        inner, outer = openvswitch.pair_of(vif.tap)
        if links.exists(outer) and not openvswitch.bridge_of(outer):
            self._change(f"make {outer} anew", [("ip", "link", "del", "dev", outer)])
        for name in (vif.bridge, inner):
            if not links.exists(name):
                self._note(entry.made, name)
        if not openvswitch.bridge_of(outer):
            self._note(entry.ports, outer)

    def unplug(self, tap: str) -> None:
        """The tap needs its bridge no more; what was made here for guests that are all gone goes too."""
        for port in (tap, openvswitch.pair_of(tap)[1]):
            for name in self._book.bridges_with_port(port):
                with self._book.bridge(name) as entry:
                    self._leave_switch(entry, name, tap, port)
                    entry.ports.remove(port)
                    self._book.save()
        for name in self._book.bridges_of(tap):
            with self._book.bridge(name) as entry:
                if tap in entry.taps:
                    entry.taps.remove(tap)
                if not entry.taps:
                    self._unmake(name, entry)
                self._book.save()

    def _leave_switch(self, entry: Entry, bridge: str, tap: str, port: str) -> None:
        """os-vif knows what it made for a hybrid in Open vSwitch; but it would take along a bridge of its own that others made."""
        switch = openvswitch.bridge_of(port)
        if port == tap or not switch or (links.exists(bridge) and bridge not in entry.made):
            openvswitch.remove_port(port)
            return
        port_id = tap.removeprefix("tap") + _ANY_TAIL
        vif = Vif(port_id, _ANY_MAC, bridge, tap, vif_type=VifType.OVS_HYBRID, ovs_bridge=switch)
        self._osvif.unplug(vif, openvswitch.datapath_of(switch))

    def has(self, tap: str) -> bool:
        """Whether the tap was plugged here, and not unplugged."""
        return bool(self._book.bridges_of(tap))

    def in_use(self) -> set[str]:
        """The bridges that taps need."""
        return self._book.in_use()

    # --- inside -----------------------------------------------------------------------------------------------------

    def _uplink_problem(self, vif: Vif, uplink: Uplink) -> str:
        if uplink.kind is SegmentKind.VXLAN and not (self._settings.vxlan_group or self._settings.vxlan_remotes):
            return "no host is named to share VXLAN networks with: set [network] vxlan_remotes or vxlan_group"
        carrier = uplink.parent or uplink.name
        if uplink.kind is SegmentKind.VXLAN and not uplink.parent:
            carrier = links.device_with(self._settings.vxlan_local_ip)
            if not carrier:
                return (
                    f"no interface of this host has the address {self._settings.vxlan_local_ip}: correct [network] vxlan_local_ip"
                )
        if not links.exists(carrier):
            return f"interface {carrier} does not exist on this host: correct [network] physical_interface_mappings"
        if problem := segments.mtu_problem(vif, uplink, carrier, links.mtu(carrier)):
            return problem
        if uplink.is_made:
            return self._device_problem(uplink)
        master = links.bridge_of(uplink.name)
        if master and master != vif.bridge:
            return f"{uplink.name} is plugged into {master} on this host, not into {vif.bridge}: correct the network's bridge"
        if not master and links.has_addresses(uplink.name):
            return f"{uplink.name} has the host's own addresses: create {vif.bridge} with it by hand, and move them to the bridge"
        return ""

    def _device_problem(self, uplink: Uplink) -> str:
        if not links.exists(uplink.name):
            if uplink.kind is SegmentKind.VLAN and self._settings.create_bridges and not links.knows_vlans():
                return "the kernel of this host has no VLAN devices: load its module 8021q"
            return self._may_not_make(f"device {uplink.name}")
        info = links.details(uplink.name).get("linkinfo", {})
        if info.get("info_kind") != _INFO_KIND[uplink.kind] or info.get("info_data", {}).get("id") != uplink.id:
            return f"{uplink.name} is something else than {uplink.kind} {uplink.id} on this host: rename it"
        return ""

    def _may_not_make(self, what: str) -> str:
        if self._settings.create_bridges:
            return ""
        return f"{what} does not exist on this host: create it, or allow it with [network] create_bridges"

    def _lead(self, entry: Entry, vif: Vif, uplink: Uplink) -> None:
        """Have the uplink, of the network's size, ready for the bridge."""
        if uplink.is_made and not links.exists(uplink.name):
            self._note(entry.made, uplink.name)
            self._change(f"make {uplink.name}", segments.adding(uplink, self._settings))
        if uplink.name in entry.made and links.mtu(uplink.name) != vif.mtu:
            self._change(f"set the MTU of {uplink.name}", [("ip", "link", "set", "dev", uplink.name, "mtu", str(vif.mtu))])
        if links.bridge_of(uplink.name) != vif.bridge and uplink.name not in entry.made:
            self._note(entry.joined, uplink.name)

    def _note(self, names: list[str], name: str) -> None:
        """Have it in the book, on disk, before it is done."""
        if name not in names:
            names.append(name)
            self._book.save()

    def _unmake(self, bridge: str, entry: Entry) -> None:
        """Remove what was made, newest first; a bridge that somebody else uses as well stays theirs, with its uplink."""
        others = set(links.ports_of(bridge)) - set(entry.made) - set(entry.joined)
        if bridge not in entry.made or not others:
            for name in reversed(entry.joined):
                if links.bridge_of(name) == bridge:
                    self._change(f"take {name} out of {bridge}", [("ip", "link", "set", "dev", name, "nomaster")])
            for name in reversed(entry.made):
                if links.exists(name):
                    self._change(f"remove {name}", [("ip", "link", "del", "dev", name)])
        entry.made.clear()
        entry.joined.clear()

    def _change(self, action: str, commands: Iterable[segments.Command]) -> None:
        links.change(self._settings.host, action, list(commands))
