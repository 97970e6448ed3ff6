"""Connections to libvirt: this host's, kept and renewed, and further ones for work that must not wait for others.

One native thread runs libvirt's event loop for the whole process. Errors of libvirt become ours here, with its own words
inside. What a host is and has is in `resources.py`; what is done to a guest in `guest.py`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import libvirt

from nova_blockmigrate.concurrency import native
from nova_blockmigrate.exceptions import BlockMigrateError, GuestNotFound, HypervisorError, HypervisorUnavailable
from nova_blockmigrate.threads import Task, call_within

KEEPALIVE_INTERVAL_S = 2
KEEPALIVE_COUNT = 4
"""A connection to another host that was silent for interval times count is dead, and every call on it fails. To this host's own
libvirt there is none: its socket tells when libvirt dies, and each question of a client that waits for an answer is a chance
for the crash of CVE-2024-4418."""
OPEN_TIMEOUT_S = 10.0

_LOST_CODES = {libvirt.VIR_ERR_NO_CONNECT, libvirt.VIR_ERR_INVALID_CONN, libvirt.VIR_ERR_RPC, libvirt.VIR_ERR_AUTH_FAILED}
_LOST_WORDS = ("client socket is closed", "connection closed", "end of file while reading", "cannot recv data", "cannot write data")
_loop: list[Task | None] = []


def share_event_loop() -> None:
    """This process has an event loop of libvirt's already, which somebody else runs. Before the first connection."""
    libvirt.registerErrorHandler(lambda *_: None, None)
    _loop.append(None)


def start_event_loop() -> None:
    """Start the process's libvirt event loop, in a native thread; once, before the first connection."""
    if _loop:
        return
    libvirt.registerErrorHandler(lambda *_: None, None)  # else libvirt writes every error to stderr, too
    libvirt.virEventRegisterDefaultImpl()
    _loop.append(Task("libvirt-events", _run_event_loop))


def _run_event_loop() -> None:
    while True:
        libvirt.virEventRunDefaultImpl()


def is_lost(error: libvirt.libvirtError) -> bool:
    """Whether an error means that libvirt cannot be reached, rather than that it refuses."""
    text = str(error).lower()
    return error.get_error_code() in _LOST_CODES or any(words in text for words in _LOST_WORDS)


def translate(error: libvirt.libvirtError, action: str, host: str, uri: str, name: str = "") -> BlockMigrateError:
    """Our error for libvirt's."""
    if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
        return GuestNotFound(name=name or "of this name", host=host)
    if is_lost(error):
        return HypervisorUnavailable(host=host, uri=uri, reason=str(error))
    return HypervisorError(action=action, reason=str(error))


def open_connection(uri: str, host: str, timeout_s: float = OPEN_TIMEOUT_S) -> Any:
    """A connection of one's own; to another host, with keepalive.

    :raises HypervisorUnavailable: refused, or no answer within `timeout_s` seconds.
    """

    def connect() -> Any:
        connection = libvirt.open(uri)
        if urlsplit(uri).netloc:
            connection.setKeepAlive(KEEPALIVE_INTERVAL_S, KEEPALIVE_COUNT)
        return connection

    start_event_loop()
    try:
        return call_within(timeout_s, connect)
    except libvirt.libvirtError as error:
        raise HypervisorUnavailable(host=host, uri=uri, reason=str(error)) from error
    except TimeoutError as error:
        raise HypervisorUnavailable(host=host, uri=uri, reason=str(error)) from error


def close_connection(connection: Any) -> None:
    """Give a connection up that no other thread uses (one that does would crash the process); a dead one is fine."""
    with contextlib.suppress(libvirt.libvirtError):
        connection.close()


class Host:
    """libvirt of one host, by one URI: a connection is opened when first used and again when it was lost, one a thread.

    Clients of libvirt before 10.3 may crash (CVE-2024-4418) when a connection breaks on which several threads wait. Connections are
    never closed here, only let go: what still uses one keeps it, and Python closes it with the last user.
    """

    def __init__(self, uri: str, name: str) -> None:
        self.uri = uri
        self.name = name
        self._own = native.threading.local()

    def connection(self) -> Any:
        """The calling thread's connection, alive.

        :raises HypervisorUnavailable: libvirt does not answer.
        """
        own = self._own
        connection = getattr(own, "connection", None)
        if connection is None or not self._is_alive(connection):
            connection = own.connection = open_connection(self.uri, self.name)
        return connection

    def open(self, timeout_s: float = OPEN_TIMEOUT_S) -> Any:
        """A connection of the caller's own, for him to close."""
        return open_connection(self.uri, self.name, timeout_s)

    def close(self) -> None:
        """Let all connections go."""
        self._own = native.threading.local()

    @contextlib.contextmanager
    def errors(self, action: str, name: str = "") -> Iterator[None]:
        """Turn libvirt's errors in the body into ours; `action` completes "refused to …"."""
        try:
            yield
        except libvirt.libvirtError as error:
            raise translate(error, action, self.name, self.uri, name) from error

    def find_domain(self, uuid: str, connection: Any = None) -> Any | None:
        """The domain with this UUID, or None."""
        try:
            return (connection or self.connection()).lookupByUUIDString(uuid)
        except libvirt.libvirtError as error:
            if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
                return None
            raise translate(error, "look a domain up", self.name, self.uri) from error

    def domain(self, uuid: str, name: str = "") -> Any:
        """The domain with this UUID.

        :raises GuestNotFound: there is none.
        """
        domain = self.find_domain(uuid)
        if domain is None:
            raise GuestNotFound(name=name or uuid, host=self.name)
        return domain

    @staticmethod
    def _is_alive(connection: Any) -> bool:
        try:
            return bool(connection.isAlive())
        except libvirt.libvirtError:
            return False


class LifecycleEvents:
    """Lifecycle events of one domain (which need not exist yet) on one connection, into a queue, in order.

    Items are (source, event, detail, time.time()). Callbacks come from the event loop's thread and only put into the queue.
    """

    def __init__(self, connection: Any, uuid: str, source: str, queue: Any) -> None:
        self._connection, self._uuid, self._source, self._queue = connection, uuid, source, queue
        self._time = native.time.time
        self._id: int | None = connection.domainEventRegisterAny(None, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, self._callback, None)

    def _callback(self, _connection: Any, domain: Any, event: int, detail: int, _opaque: Any) -> None:
        if domain.UUIDString() == self._uuid:
            self._queue.put((self._source, event, detail, self._time()))

    def close(self) -> None:
        if self._id is not None:
            with contextlib.suppress(libvirt.libvirtError):
                self._connection.domainEventDeregisterAny(self._id)
            self._id = None

    def __enter__(self) -> LifecycleEvents:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
