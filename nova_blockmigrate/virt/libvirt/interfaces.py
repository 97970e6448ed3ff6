"""A guest's interfaces in its domain XML (pure): on another host they may hang on bridges of other names."""

from __future__ import annotations

from collections.abc import Iterable

from lxml import etree

from nova_blockmigrate.objects import Vif


def with_bridges(xml: str, vifs: Iterable[Vif]) -> str:
    """The XML with each interface, known by its MAC, on the bridge that it has here; the same text when nothing differs."""
    wanted = {vif.mac.lower(): vif.bridge for vif in vifs}
    tree = etree.fromstring(xml.encode())
    changed = False
    for interface in tree.iterfind("devices/interface[@type='bridge']"):
        mac, source = interface.find("mac"), interface.find("source")
        bridge = wanted.get(mac.get("address", "").lower()) if mac is not None else None
        if source is not None and bridge and source.get("bridge") != bridge:
            source.set("bridge", bridge)
            changed = True
    return etree.tostring(tree, encoding="unicode") if changed else xml
