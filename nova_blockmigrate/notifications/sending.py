"""Puts notifications out, by oslo.messaging's notifier, from a thread of its own: who emits one never waits, and never fails.

`configure` once for each process; until then, and where the options ask for none, `emit` does nothing.
"""

from __future__ import annotations

import queue
import threading
from typing import Any

import oslo_messaging
from oslo_config import cfg
from oslo_log import log

from nova_blockmigrate import concurrency, rpc
from nova_blockmigrate.context import RequestContext

LOG = log.getLogger(__name__)

SENDING_FORMATS = ("versioned", "both")


class Sender:
    """A bounded queue, and the thread that empties it."""

    def __init__(self, notifier: Any, size: int) -> None:
        self._notifier = notifier
        self._waiting: queue.Queue[tuple[Any, ...]] = queue.Queue(size)
        self._lock = threading.Lock()
        self._dropped = 0
        concurrency.spawn("notifications", self._send_all)

    def put(self, context: RequestContext, publisher: str, event_type: str, payload: dict[str, Any], priority: str) -> None:
        """Have a notification sent; one that finds no place is dropped."""
        try:
            self._waiting.put_nowait((context, publisher, event_type, payload, priority))
        except queue.Full:
            with self._lock:
                self._dropped += 1
                is_first = self._dropped == 1
            if is_first:
                LOG.warning(
                    "Notifications are dropped: %d wait for the broker. First dropped: %s", self._waiting.qsize(), event_type
                )

    def flush(self) -> None:
        """Wait until all that wait are sent."""
        self._waiting.join()

    def _send_all(self) -> None:
        while True:
            context, publisher, event_type, payload, priority = self._waiting.get()
            try:
                getattr(self._notifier.prepare(publisher_id=publisher), priority)(context, event_type, payload)
                self._tell_dropped()
            except Exception:  # the border of the thread: a notification is never worth an error
                LOG.exception("Notification %s of %s was not sent", event_type, publisher)
            finally:
                self._waiting.task_done()

    def _tell_dropped(self) -> None:
        with self._lock:
            dropped, self._dropped = self._dropped, 0
        if dropped:
            LOG.warning("The broker takes notifications again; %d were dropped meanwhile", dropped)


_sender: Sender | None = None


def configure(conf: cfg.ConfigOpts) -> None:
    """Begin to send, if the options ask for it; a second call replaces the first."""
    global _sender
    _sender = None
    if conf.notifications.notification_format not in SENDING_FORMATS:
        return
    # (without a driver oslo.messaging sends nothing: then nothing is to be prepared either)
    transport = oslo_messaging.get_notification_transport(conf)
    if not [driver for driver in conf.oslo_messaging_notifications.driver if driver not in ("", "noop")]:
        return
    topics = conf.notifications.versioned_notifications_topics
    notifier = oslo_messaging.Notifier(transport, serializer=rpc.ContextSerializer(), topics=topics)
    _sender = Sender(notifier, conf.notifications.queue_size)


def is_on() -> bool:
    """Whether it is worth to put a payload together."""
    return _sender is not None


def emit(context: RequestContext, publisher: str, event_type: str, payload: dict[str, Any], priority: str = "info") -> None:
    """Have a notification sent some time soon; `publisher` is Nova's service and the host: "nova-compute:compute1"."""
    if _sender is not None:
        _sender.put(context, publisher, event_type, payload, priority)


def flush() -> None:
    """Wait until all that was emitted is sent; for tests."""
    if _sender is not None:
        _sender.flush()
