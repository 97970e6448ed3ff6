"""What of Nova's own must survive a restart, so that Nova's methods can end a live migration: as primitives on disk, and back.

The user's token does not survive, nor do secrets of the guest.
"""

from __future__ import annotations

import functools
from typing import Any

from nova import objects
from nova.objects import base as objects_base
from oslo_serialization import jsonutils

from nova_blockmigrate.nova_driver.ending import ATTRIBUTES, Move


def packed(context: Any, migrate_data: Any, source_bdms: Any, resources: Any = None, flavor: Any = None) -> dict[str, Any]:
    """`resources`: what of this host the instance has to itself (persistent memory); None or an empty list: nothing."""
    migrate_data = migrate_data.obj_clone()
    if "vtpm_secret_value" in migrate_data:
        migrate_data.vtpm_secret_value = None
    return {
        "request_id": context.request_id,
        "migrate_data": jsonutils.to_primitive(migrate_data.obj_to_primitive()),
        "source_bdms": jsonutils.to_primitive(source_bdms.obj_to_primitive()),
        "resources": jsonutils.to_primitive(resources.obj_to_primitive()) if resources else None,
        "flavor": jsonutils.to_primitive(flavor.obj_to_primitive()) if flavor else None,
    }


def unpacked(kept: dict[str, Any], context: Any) -> tuple[Any, Any]:
    """Nova's data of the migration, and the source's block device mappings, as it would have passed them. The context gets the
    request that the user made, by which an action is found."""
    context.request_id = kept["request_id"]
    migrate_data = objects_base.NovaObject.obj_from_primitive(kept["migrate_data"], context=context)
    return migrate_data, objects_base.NovaObject.obj_from_primitive(kept["source_bdms"], context=context)


def put_back(kept: dict[str, Any], instance: Any, context: Any) -> None:
    """Give an instance what the database may not have any more: the source's resources (once it has moved, it knows those of the
    destination), and its flavor, which Nova loses of a server that is deleted while its move is recorded."""
    instance.resources = _object(kept, "resources", context)
    if (flavor := _object(kept, "flavor", context)) is not None:
        instance.flavor = flavor
    instance.obj_reset_changes(["resources", "flavor"], recursive=True)


def _object(kept: dict[str, Any], name: str, context: Any) -> Any:
    primitive = kept.get(name)
    return objects_base.NovaObject.obj_from_primitive(primitive, context=context) if primitive else None


def move(context: Any, manager: Any, migration: Any, migrate_data: Any, source_bdms: Any) -> Move:
    """As Nova would have passed it to its driver.

    :raises InstanceNotFound: the server was deleted.
    """
    instance = objects.Instance.get_by_uuid(context, migration.instance_uuid, expected_attrs=ATTRIBUTES)
    migrate_data.migration = migration
    post = functools.partial(manager._post_live_migration_update_host, source_bdms=source_bdms)
    recover = functools.partial(manager._rollback_live_migration, source_bdms=source_bdms)
    copies_disks = bool(migrate_data.block_migration)
    return Move(context, instance, migration.dest_compute, copies_disks, migrate_data, post, recover, source_bdms)
