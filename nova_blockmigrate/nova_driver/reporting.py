"""What users see of a transfer: its progress while it runs, and why it failed when it did."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

from nova import exception
from nova.compute import utils as compute_utils
from oslo_log import log

from nova_blockmigrate import concurrency
from nova_blockmigrate.nova_driver.transfers import Transfers

LOG = log.getLogger(__name__)

EVENT = "compute_live_migration_transfer"
STEP_S = 0.5


@contextlib.contextmanager
def saving_progress(transfers: Transfers, instance: Any, migration: Any, interval_s: float) -> Iterator[None]:
    """While the body runs, save how far the transfer is. What hinders that hinders nothing else."""
    over = threading.Event()
    copies = (instance.obj_clone(), migration.obj_clone())  # one that hangs in an outage must not touch what others save
    concurrency.spawn("blockmigrate-progress", _save_until, over, transfers, *copies, max(STEP_S, interval_s))
    try:
        yield
    finally:
        over.set()


def _save_until(over: threading.Event, transfers: Transfers, instance: Any, migration: Any, interval_s: float) -> None:
    waited_s = interval_s
    while not over.is_set():
        concurrency.pause(STEP_S)
        waited_s += STEP_S
        progress = transfers.progress(instance.uuid)
        if progress is None or over.is_set() or waited_s < interval_s:
            continue
        waited_s = 0.0
        migration.memory_total = progress.memory_total_bytes
        migration.memory_processed = progress.memory_processed_bytes
        migration.memory_remaining = progress.memory_remaining_bytes
        migration.disk_total = progress.disk_total_bytes
        migration.disk_processed = progress.disk_processed_bytes
        migration.disk_remaining = progress.disk_remaining_bytes
        instance.progress = progress.percent
        try:
            migration.save()
            instance.save()
        except Exception:  # whatever it is: the guest's move does not depend on it
            LOG.info("Progress of a live migration was not saved", exc_info=True, instance=instance)


def tell_why(context: Any, host: str, instance: Any, reason: str) -> None:
    """Put the reason into the instance's action, where its user looks."""
    try:
        with compute_utils.EventReporter(context, EVENT, host, instance.uuid, graceful_exit=True):
            raise exception.MigrationError(reason=reason)
    except exception.MigrationError:
        return
