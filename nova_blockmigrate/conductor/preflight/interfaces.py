"""Checks of interfaces and drives that hang on what a host has by itself: libvirt networks, devices."""

from __future__ import annotations

from nova_blockmigrate.conductor.preflight.facts import Facts
from nova_blockmigrate.conductor.preflight.registry import Answer, check, failed, passed, unknown


@check("host_networks", where="destination", title="libvirt networks of the guest run there")
def host_networks(facts: Facts) -> Answer:
    """Guests that were made by others may hang on a network of libvirt. Whether it is the same network there, only its
    administrator knows: one with NAT is every host's own."""
    if facts.reception is None:
        return unknown(facts.destination.silence)
    if facts.reception.libvirt_networks_missing:
        missing = ", ".join(facts.reception.libvirt_networks_missing)
        return failed(f"not on {facts.destination.name}: {missing}", remedy="define and start them there (`virsh net-start`)")
    return passed("they do, or it has none")


@check("host_devices", where="destination", title="Devices that the guest names are there")
def host_devices(facts: Facts) -> Answer:
    if facts.reception is None:
        return unknown(facts.destination.silence)
    if facts.reception.devices_missing:
        missing = ", ".join(facts.reception.devices_missing)
        return failed(f"not on {facts.destination.name}: {missing}", remedy="detach them, or eject the medium from the drive")
    return passed("they are, or it names none")
