"""What one migration needs of both libvirts: connections of its own, opened beforehand, with events flowing into a queue.

Two to the source and two to the destination: one for the long calls and the events, one that answers at once in the
handover (a client has 5 calls in flight on a connection at the most, and calls may wait for each other).
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


class Side:
    """One host's two connections."""

    def __init__(self, host: Host, uuid: str, role: str, queue: Any) -> None:
        self.host, self._uuid = host, uuid
        self._events: LifecycleEvents | None = None
        self.main, self.quick = None, None  # type: Any, Any
        self.main, self.quick = in_parallel([host.open, host.open])
        try:
            self._events = LifecycleEvents(self.main, uuid, role, queue)
        except libvirt.libvirtError as error:
            self.close()
            with host.errors("watch events"):
                raise error

    def domain(self) -> Any | None:
        """The domain on the connection for long calls."""
        return self.host.find_domain(self._uuid, self.main)

    def quick_domain(self) -> Any | None:
        """The domain on the connection that nothing else uses."""
        return self.host.find_domain(self._uuid, self.quick)

    def close(self) -> None:
        if self._events is not None:
            self._events.close()
        for connection in (self.main, self.quick):
            if connection is not None:
                close_connection(connection)


class Links:
    """Both sides. The source's are there when this is made; the destination's come through the queue a little later, as
    ("linked", None, time), or ("not linked", the error, time): the transfer need not wait for them."""

    def __init__(self, source: Host, destination: Host, uuid: str, queue: Any) -> None:
        self.source = Side(source, uuid, SOURCE, queue)
        self.destination: Side | None = None
        self._queue = queue
        self._task = Task("link-destination", lambda: self._link(destination, uuid))

    def _link(self, destination: Host, uuid: str) -> None:
        try:
            self.destination = Side(destination, uuid, DESTINATION, self._queue)
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
