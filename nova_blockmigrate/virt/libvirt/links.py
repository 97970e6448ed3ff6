"""What one migration needs of both libvirts: connections of its own, opened beforehand, with events flowing into a queue.

One with the events for each host, and one for each thread that calls: calls on one connection may wait for each other, and
clients of libvirt before 10.3 crash now and then when two threads wait on one (CVE-2024-4418).
"""

from __future__ import annotations

import contextlib
from typing import Any

import libvirt

from nova_blockmigrate.concurrency import native
from nova_blockmigrate.exceptions import BlockMigrateError
from nova_blockmigrate.threads import Task, in_parallel
from nova_blockmigrate.virt.libvirt.host import Host, LifecycleEvents, close_connection

SOURCE, DESTINATION = "source", "destination"
DESTINATION_LOST = f"{DESTINATION} lost"


MIGRATE, STEER, ASK, SWITCH = "migrate", "steer", "ask", "switch"
"""Who calls: whoever is in `migrateToURI3`, who steers it, and who asks in the handover; at the destination who switches."""
LINK_LIMIT_S = 5.0
"""How long a libvirt may take to answer."""


class Side:
    """One host's connections: the one with the events, and one for each of `callers`."""

    def __init__(self, host: Host, uuid: str, role: str, queue: Any, callers: tuple[str, ...]) -> None:
        self.host, self._uuid = host, uuid
        self._events: LifecycleEvents | None = None
        self.main, *others = in_parallel([lambda: host.open(LINK_LIMIT_S)] * (1 + len(callers)))
        self._connections = dict(zip(callers, others, strict=True))
        try:
            self._events = LifecycleEvents(self.main, uuid, role, queue)
            self.main.registerCloseCallback(self._lost, (role, queue))
        except libvirt.libvirtError as error:
            self.close()
            with host.errors("watch events"):
                raise error

    def domain(self, caller: str = "") -> Any | None:
        """The domain on the connection of one caller; else on the one with the events, for short calls only."""
        return self.host.find_domain(self._uuid, self._connections[caller] if caller else self.main)

    @staticmethod
    def _lost(_connection: Any, reason: int, told: tuple[str, Any]) -> None:
        if reason != libvirt.VIR_CONNECT_CLOSE_REASON_CLIENT:
            role, queue = told
            queue.put((f"{role} lost", None, native.time.time()))

    def close(self) -> None:
        if self._events is not None:
            self._events.close()
        with contextlib.suppress(libvirt.libvirtError):  # it keeps the connection from being freed
            self.main.unregisterCloseCallback()
        for connection in (self.main, *self._connections.values()):
            close_connection(connection)


class Links:
    """Both sides. The source's are there when this is made; the destination's come through the queue a little later, as
    ("linked", None, time), or ("not linked", the error, time): the transfer need not wait for them.

    A side that is lost later comes as ("source lost", None, time) or ("destination lost", None, time)."""

    def __init__(self, source: Host, destination: Host, uuid: str, queue: Any) -> None:
        self.source = Side(source, uuid, SOURCE, queue, (MIGRATE, STEER, ASK))
        self.destination: Side | None = None
        self._host, self._uuid, self._queue = destination, uuid, queue
        self._task = Task("link-destination", self._link)

    def link_again(self) -> None:
        """The destination's side was lost: try to get a new one. The answer comes through the queue as at first."""
        lost, self.destination = self.destination, None
        if lost is not None:
            Task("close-lost-side", lost.close)
        self._task = Task("link-destination", self._link)

    def _link(self) -> None:
        try:
            self.destination = Side(self._host, self._uuid, DESTINATION, self._queue, (SWITCH,))
        except BlockMigrateError as error:
            self._queue.put(("not linked", error, native.time.time()))
        else:
            self._queue.put(("linked", None, native.time.time()))

    def close(self) -> None:
        self._task.wait()
        for side in (self.source, self.destination):
            if side is not None:
                with contextlib.suppress(libvirt.libvirtError):
                    side.close()
