"""Guests' interfaces on a host: connected and guarded before the guest can send or receive, released after it is gone.

The one way in for the layers above. What is shared by guests is counted in a book of the host (`book.py`), what belongs to
one guest is named after its tap; so everything may be done twice, and undone after any crash.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from oslo_log import log

from nova_blockmigrate.concurrency import native
from nova_blockmigrate.exceptions import NetworkError
from nova_blockmigrate.network import announcement, connections, openvswitch
from nova_blockmigrate.network.bridge import Bridges
from nova_blockmigrate.network.firewall import Firewall
from nova_blockmigrate.network.osvif import OsVif
from nova_blockmigrate.network.settings import NetworkSettings
from nova_blockmigrate.objects import Vif, VifType

LOG = log.getLogger(__name__)

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
        # refreshed rules must not outlive the interface that they guard
        self._lock = native.threading.RLock()
        self._host = settings.host
        self._osvif = OsVif(settings.host)
        self._bridges = Bridges(settings, self._osvif)
        self._firewall = Firewall(settings)

    def start(self) -> None:
        """Be ready for the first guest before it comes."""
        self._osvif.start()

    def close(self) -> None:
        self._osvif.close()

    def why_not(self, vifs: Iterable[Vif]) -> list[str]:
        """Why the interfaces cannot be connected here, in words, each reason once. Changes nothing. What those that are not
        bound here need, shows when they are."""
        vifs = list(vifs)
        bound = [vif for vif in vifs if vif.is_bound]
        reasons = [self._bridges.why_not(vif) for vif in bound]
        if any(vif.port_security for vif in vifs if _is_bridged(vif)):
            reasons.append(self._firewall.why_not())
        return [reason for reason in dict.fromkeys(reasons) if reason]

    def plug(self, vifs: Sequence[Vif], ledger: Ledger) -> None:
        """Connect and guard the interfaces; those that are already are made right.

        :raises NetworkError: one cannot be; what was made is in the ledger.
        """
        with contextlib.ExitStack() as listed:
            for vif in vifs:
                listed.enter_context(ledger.entry(VIF, vif.tap))
            listed.enter_context(self._lock)
            self._guard(vifs)
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
        with self._lock:
            self._bridges.unplug(tap)
            self._firewall.release(tap, self._bridges.in_use())

    def refresh(self, guests: Mapping[str, Sequence[Vif]]) -> None:
        """Have the firewall say what the security groups say now, for those of the guests' interfaces that are connected here.

        All at once; if the kernel refuses that, one guest after the other, so that nobody has old rules because of another's.

        :raises NetworkError: the kernel refused some guests' rules (their names are logged), which are as they were.
        """
        with self._lock:
            here = {name: [vif for vif in vifs if self._bridges.has(vif.tap)] for name, vifs in guests.items()}
            try:
                self._guard([vif for vifs in here.values() for vif in vifs])
            except NetworkError:
                if len(here) < 2:
                    raise
                self._refresh_each(here)

    def _refresh_each(self, guests: Mapping[str, Sequence[Vif]]) -> None:
        failed = {}
        for name, vifs in guests.items():
            try:
                self._guard(vifs)
            except NetworkError as error:
                LOG.error("[server %s] its rules stay as they were: %s", name, error)
                failed[name] = error
        if failed:
            reason = str(next(iter(failed.values())))
            raise NetworkError(host=self._host, action=f"refresh the rules of {', '.join(failed)}", reason=reason)

    def _guard(self, vifs: Sequence[Vif]) -> None:
        bridged = [vif for vif in vifs if _is_bridged(vif)]
        self._firewall.guard(bridged)
        self._firewall.leave(bridged)

    def announce(self, vifs: Iterable[Vif]) -> None:
        """Tell the network that the guest's addresses are here now."""
        for vif in vifs:
            if _is_bridged(vif):
                announcement.send(vif)
            else:
                openvswitch.send(vif, announcement.frames(vif))

    def announce_foreign(self, mac: str, tap: str, bridge: str, device: str) -> None:
        """The same for an interface that others have made: on a bridge or, without one, on a device."""
        announcement.send(Vif("", mac, bridge, tap), "" if bridge else device)

    def connections(self, vifs: Iterable[Vif]) -> list[str]:
        """The connections that the guest has open, for the host that it goes to."""
        return connections.read(vifs)

    def take_over(self, entries: Sequence[str]) -> int:
        """Know the connections that a guest brought from another host; returns their number."""
        return connections.write(entries)


def _is_bridged(vif: Vif) -> bool:
    """Whether its tap is on a Linux bridge, where the firewall sees it."""
    return vif.vif_type is not VifType.OVS
