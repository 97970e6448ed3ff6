"""A guest's interfaces in its domain XML (pure): on another host they may hang on bridges of other names, or of another kind."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from lxml import etree
from lxml.builder import E

from nova_blockmigrate.objects import Vif, VifType


def with_bridges(xml: str, vifs: Iterable[Vif]) -> str:
    """The XML with each interface, known by its MAC, on the bridge that it has here; the same text when nothing differs."""
    wanted = {vif.mac.lower(): vif for vif in vifs if vif.bridge}
    tree = etree.fromstring(xml.encode())
    changed = False
    for interface in tree.iterfind("devices/interface[@type='bridge']"):
        mac, source = interface.find("mac"), interface.find("source")
        vif = wanted.get(mac.get("address", "").lower()) if mac is not None else None
        if source is None or vif is None:
            continue
        if source.get("bridge") != vif.bridge:
            source.set("bridge", vif.bridge)
            changed = True
        changed = _set_virtual_port(interface, vif) or changed
    return etree.tostring(tree, encoding="unicode") if changed else xml


def _set_virtual_port(interface: Any, vif: Vif) -> bool:
    """An interface on Open vSwitch says so, with the id that its port has there, and no other does; whether that was changed."""
    there = interface.find("virtualport[@type='openvswitch']")
    if (there is not None) == (vif.vif_type is VifType.OVS):
        return False
    if there is not None:
        interface.remove(there)
    else:
        port = E.virtualport(E.parameters(interfaceid=vif.port_id), type="openvswitch")
        interface.find("source").addnext(port)
    return True
