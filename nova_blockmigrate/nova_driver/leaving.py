"""What a guest that has moved away left on this host: it goes when Nova's database names its new home and libvirt proves that it is
there, or when its server is no more. Tried again until it is done, however long that takes.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import nova.context
from nova import exception, objects
from oslo_log import log

from nova_blockmigrate import concurrency
from nova_blockmigrate.nova_driver.ending import ATTRIBUTES
from nova_blockmigrate.nova_driver.standing import COMPLETED
from nova_blockmigrate.nova_driver.transfers import Home, Task, Transfers
from nova_blockmigrate.objects import Verdict

LOG = log.getLogger(__name__)

FIRST_PAUSE_S, LONGEST_PAUSE_S = 10.0, 300.0
RETURN_LIMIT_S, RETURN_LOOK_S = 60.0, 0.5
"""How long a guest that comes back waits for what it left to go, as it could not come otherwise."""

Remove = Callable[[Task, Any], None]
"""Deletes what the guest of a task left here; the instance is Nova's object, that of a deleted server, too."""


class Leaving:
    def __init__(self, host: str, transfers: Transfers, remove: Remove, uri_of: Callable[[str], str]) -> None:
        """`uri_of(host)` is where another host's libvirt is reached."""
        self._host, self._transfers, self._remove, self._uri_of = host, transfers, remove, uri_of
        self._busy: dict[str, object] = {}

    def begin(self, task: Task) -> None:
        """In a thread of its own: the proof can take long."""
        concurrency.spawn("blockmigrate-clean", self._until_clean, task)

    def finish(self, server_uuid: str) -> None:
        """Before a guest comes back: what it left when it went goes now, if that can be."""
        deadline = time.monotonic() + RETURN_LIMIT_S
        for task in self._transfers.remembered(server_uuid):
            while self._has_moved(task) and not self.clean(task) and time.monotonic() < deadline:
                concurrency.pause(RETURN_LOOK_S)

    def _until_clean(self, task: Task) -> None:
        pause_s = FIRST_PAUSE_S
        while not self.clean(task):
            concurrency.pause(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    def clean(self, task: Task) -> bool:
        """Try once; whether nothing remains to be done."""
        with self._alone(task.plan.migration_uuid) as alone:
            if not alone:
                return False
            if not self._transfers.knows(task.plan.migration_uuid):
                return True
            try:
                return self._clean(task)
            except Exception:  # whatever it is: nothing else looks after it
                LOG.exception("%s what it left on its source could not be removed; trying again", task.plan.label)
                return False

    @contextlib.contextmanager
    def _alone(self, migration_uuid: str) -> Iterator[bool]:
        """False when another thread is at it."""
        mine = object()
        free = self._busy.setdefault(migration_uuid, mine) is mine
        try:
            yield free
        finally:
            if free:
                self._busy.pop(migration_uuid, None)

    def _clean(self, task: Task) -> bool:
        context = nova.context.get_admin_context("yes")
        try:
            instance = objects.Instance.get_by_uuid(context, task.plan.server.uuid, ATTRIBUTES)
        except exception.InstanceNotFound:
            LOG.warning("%s nothing is known of its server any more: what it may have left is not touched", task.plan.label)
            self._transfers.forget(task)
            return True
        if not (may_go := self._may_go(task, instance)):
            return may_go is None
        self._remove(task, instance)
        self._transfers.forget(task)
        return True

    def _may_go(self, task: Task, instance: Any) -> bool | None:
        """Whether all that the guest left here may be deleted; None: never, as it is not what it left."""
        if instance.deleted:
            return self._transfers.is_gone(task)
        if not _is_recorded(task):
            return False
        if instance.host == self._host:
            LOG.info("%s has come back meanwhile", task.plan.label)
            self._transfers.forget(task)
            return None
        if instance.host is None:  # shelved: the image service has its data
            return self._transfers.is_gone(task)
        plan = task.plan
        uri = task.uri if instance.host == plan.destination_host else self._uri_of(instance.host)
        return self._transfers.has_left(task, Home(instance.host, uri))

    def _has_moved(self, task: Task) -> bool:
        outcome = self._transfers.decided(task)
        return outcome is not None and outcome.verdict is Verdict.HANDED_OVER


def _is_recorded(task: Task) -> bool:
    context = nova.context.get_admin_context("yes")
    try:
        return bool(objects.Migration.get_by_uuid(context, task.plan.migration_uuid).status == COMPLETED)
    except exception.MigrationNotFound:  # so long ago that it was purged
        return True
