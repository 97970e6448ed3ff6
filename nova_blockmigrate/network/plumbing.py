"""Guests' interfaces on a host: connected and guarded before the guest can send or receive, released after it is gone.

The one way in for the layers above. What is shared by guests is counted in a book of the host (`book.py`), what belongs to
one guest is named after its tap; so everything may be done twice, and undone after any crash.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from typing import Protocol

from nova_blockmigrate.network import announcement, connections
from nova_blockmigrate.network.bridge import Bridges
from nova_blockmigrate.network.firewall import Firewall
from nova_blockmigrate.network.settings import NetworkSettings
from nova_blockmigrate.objects import Vif, VifType

VIF = "vif"
"""Kind of artefact: an interface connected and guarded on this host, by the name of its tap."""


class Ledger(Protocol):
    """Where a thing is noted before it is made (`virt.driver.Ledger`)."""

    def entry(self, kind: str, name: str) -> contextlib.AbstractContextManager[None]: ...


class NoLedger:
    """For interfaces of a guest that is here to stay: they go with the guest."""

    def entry(self, kind: str, name: str) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()


class Plumbing:
    """The networks of this host."""

    def __init__(self, settings: NetworkSettings) -> None:
        self._bridges = Bridges(settings)
        self._firewall = Firewall(settings)

    def why_not(self, vifs: Iterable[Vif]) -> list[str]:
        """Why the interfaces cannot be connected here, in words, each reason once. Changes nothing."""
        vifs = list(vifs)
        reasons = [self._bridges.why_not(vif) for vif in vifs]
        if any(vif.port_security for vif in vifs):
            reasons.append(self._firewall.why_not())
        return [reason for reason in dict.fromkeys(reasons) if reason]

    def plug(self, vifs: Sequence[Vif], ledger: Ledger) -> None:
        """Connect and guard the interfaces; those that are already are made right.

        :raises NetworkError: one cannot be; what was made is in the ledger.
        """
        with contextlib.ExitStack() as listed:
            for vif in vifs:
                listed.enter_context(ledger.entry(VIF, vif.tap))
            self._firewall.guard(vifs)
            for vif in vifs:
                self._bridges.plug(vif)

    def note(self, vifs: Iterable[Vif], ledger: Ledger) -> None:
        """Note what is about to be released, of a guest that was started before its interfaces were noted."""
        for vif in vifs:
            with ledger.entry(VIF, vif.tap):
                pass

    def release(self, tap: str) -> None:
        """Undo `plug` for one interface, after its guest is gone. What is not there is fine.

        :raises NetworkError: something could not be removed.
        """
        self._firewall.release(tap)
        self._bridges.unplug(tap)

    def refresh(self, vifs: Sequence[Vif]) -> None:
        """Have the firewall say what the security groups say now, for guests that are here.

        :raises NetworkError: the kernel refused; the rules are as they were.
        """
        self._firewall.guard(vifs)

    def announce(self, vifs: Iterable[Vif]) -> None:
        """Tell the network that the guest's addresses are here now."""
        for vif in vifs:
            if vif.vif_type is VifType.BRIDGE:
                announcement.send(vif)

    def connections(self, vifs: Iterable[Vif]) -> list[str]:
        """The connections that the guest has open, for the host that it goes to."""
        return connections.read(vifs)

    def take_over(self, entries: Sequence[str]) -> int:
        """Know the connections that a guest brought from another host; returns their number."""
        return connections.write(entries)
