"""Waits for the network's word that ports are wired at the destination, before a guest is sent there.

The word comes through the REST API (`os-server-external-events`), which writes it down; so it may come before anybody waits,
and while no conductor runs. What is left of earlier migrations is deleted in the transaction that begins the preparing.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from oslo_log import log

from nova_blockmigrate.db import session
from nova_blockmigrate.db.queries import external_events

LOG = log.getLogger(__name__)

PLUGGED = "network-vif-plugged"
COMPLETED = "completed"
LOOK_S = 1.0
"""Between two looks, when no conductor was told of an event (it is told to all; a message may be lost)."""


class NotPlugged(Exception):
    """A port was not wired in time, or its network says that it cannot be."""


class PlugEvents:
    """Shared by all migrations of a conductor."""

    def __init__(self, stopping: threading.Event) -> None:
        self._stopping = stopping
        self._arrived = threading.Condition()

    def arrived(self) -> None:
        """Something was written down: whoever waits may look."""
        with self._arrived:
            self._arrived.notify_all()

    def wait(self, server_uuid: str, port_ids: Sequence[str], timeout_s: float, ended: Callable[[], bool]) -> None:
        """Until all ports are wired, `ended` says that nobody wants to know any more, or this conductor stops.

        :raises NotPlugged:
        """
        deadline = time.monotonic() + timeout_s
        while not self._stopping.is_set():
            with session.reader() as db:
                seen = external_events.statuses(db, server_uuid, PLUGGED)
            failed = sorted(port for port in port_ids if seen.get(port, COMPLETED) != COMPLETED)
            if failed:
                raise NotPlugged(f"Neutron says that wiring failed for port {', '.join(failed)}: see the log of its agent.")
            missing = sorted(set(port_ids) - seen.keys())
            if not missing or ended():
                return
            if time.monotonic() > deadline:
                raise NotPlugged(
                    f"No {PLUGGED} came within {timeout_s:.0f} s for port {', '.join(missing)}: check that Neutron's agent on the "
                    "destination is alive, and that Neutron's [nova] options lead to this API."
                )
            with self._arrived:
                self._arrived.wait(LOOK_S)
