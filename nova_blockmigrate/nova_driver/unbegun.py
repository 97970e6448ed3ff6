"""Live migrations that Nova had taken on when this service died, and that had not come to a transfer: queued, or being prepared.

A Nova that starts forgets them: the server is ACTIVE again, and the migration, its allocation and what the destination prepared
stay for ever. Here they are found, and ended as moves that did not happen. What Nova's roll back needs for that is in no database:
it is kept on disk from the moment when Nova asks whether the guest can leave.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
from collections.abc import Callable
from typing import Any

from nova import objects
from nova.compute import task_states
from oslo_log import log

from nova_blockmigrate.nova_driver import keeping
from nova_blockmigrate.nova_driver.ending import Move

LOG = log.getLogger(__name__)

POSSIBLE = ("queued", "preparing", "running", "cancelled", "error", "failed")
"""Statuses in which Nova can leave such a one: a service that is stopped in good order sets "cancelled" and undoes nothing, and
what fails while it is prepared has its status before anything is undone. "accepted" still belongs to the conductor."""
REASON = "the compute service of the source host was restarted before the transfer had begun"
SUFFIX = ".json"


class Unbegun:
    """Those of this host, by the server's uuid."""

    def __init__(self, folder: pathlib.Path, host: str) -> None:
        self._folder, self._host = folder, host

    # --- before the transfer ----------------------------------------------------------------------------------------

    def expect(self, context: Any, instance: Any, migrate_data: Any, has_volumes: bool) -> None:
        """A guest may leave soon. A disk that is full hinders nothing: a roll back without this only leaves more to the
        destination."""
        source_bdms = objects.BlockDeviceMappingList(objects=[])
        if has_volumes:
            source_bdms = objects.BlockDeviceMappingList.get_by_instance_uuid(context, instance.uuid)
        part = self._path(instance.uuid).with_suffix(".part")
        try:
            part.touch(mode=0o600)
            part.write_text(json.dumps(keeping.packed(context, migrate_data, source_bdms)))
            os.replace(part, self._path(instance.uuid))
        except OSError:
            LOG.exception("What a restart would need of a live migration is not kept", instance=instance)

    def forget(self, server_uuid: str) -> None:
        """Nothing that was expected is to come any more."""
        self._path(server_uuid).unlink(missing_ok=True)

    # --- after a restart --------------------------------------------------------------------------------------------

    def migrations(self, context: Any, instances: Any, is_moving: Callable[[Any], bool]) -> list[Any]:
        """Nova's migrations of these instances that never came to a transfer. `is_moving` tells whether libvirt moves a guest.

        What was kept of others is dropped.
        """
        migrating = [each for each in instances if each.host == self._host and each.task_state == task_states.MIGRATING]
        found = [migration for each in migrating if (migration := self._of(context, each, is_moving)) is not None]
        self._drop_all_but({migration.instance_uuid for migration in found})
        return found

    def _of(self, context: Any, instance: Any, is_moving: Callable[[Any], bool]) -> Any:
        filters = {"instance_uuid": instance.uuid, "migration_type": "live-migration", "source_compute": self._host}
        newest = max(objects.MigrationList.get_by_filters(context, filters), key=lambda each: int(each.id), default=None)
        return newest if newest is not None and newest.status in POSSIBLE and not is_moving(instance) else None

    def move(self, context: Any, manager: Any, migration: Any) -> Move:
        """For Nova's roll back.

        :raises InstanceNotFound: the server was deleted.
        """
        try:
            migrate_data, bdms = keeping.unpacked(json.loads(self._path(migration.instance_uuid).read_text()), context)
        except (OSError, ValueError):
            LOG.warning("Of migration %s nothing is known here; its destination is to clear up by itself", migration.uuid)
            migrate_data, bdms = _careful(), objects.BlockDeviceMappingList.get_by_instance_uuid(context, migration.instance_uuid)
        return keeping.move(context, manager, migration, migrate_data, bdms)

    def _drop_all_but(self, server_uuids: set[str]) -> None:
        for path in self._folder.glob(f"*{SUFFIX}"):
            if path.stem not in server_uuids:
                with contextlib.suppress(FileNotFoundError):
                    path.unlink()

    def _path(self, server_uuid: str) -> pathlib.Path:
        return self._folder / f"{server_uuid}{SUFFIX}"


def _careful() -> Any:
    """Data of a migration of which it is not known whether its files are shared: then nobody is told to delete them."""
    return objects.LibvirtLiveMigrateData(is_shared_instance_path=True, is_shared_block_storage=True, block_migration=True)
