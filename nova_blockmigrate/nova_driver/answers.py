"""Whether Nova's own parts answer: asked by short calls that may be repeated, because after an outage of the broker or the database
a long call may wait for an answer that was lost.

Every service of Nova answers `ping`, on each of its queues.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import nova.context
import oslo_messaging
from keystoneauth1 import exceptions as keystone_exception
from neutronclient.common import exceptions as neutron_exception
from nova import exception, objects, rpc
from nova.compute import rpcapi as compute_rpcapi
from oslo_db import exception as db_exception
from oslo_log import log

from nova_blockmigrate import concurrency
from nova_blockmigrate.nova_driver.arrivals import ARRIVED, DELETED, GONE, STAYED, UNDER_WAY
from nova_blockmigrate.nova_driver.standing import CANCELLED, EVACUATION, FAILED, Standing, is_still_coming
from nova_blockmigrate.objects import MigrationPlan

LOG = log.getLogger(__name__)

PING_LIMIT_S = 4
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 10.0
_NAMESPACE, _VERSION = "baseapi", "1.0"
CONDUCTOR = "conductor"
FINAL_STATUSES = ("completed", "failed", "cancelled", "error", "")
"""Also of one whose row was deleted."""
ALT_SINCE = "6.5"
"""The version of the compute service's RPC since which a second queue takes what is under way."""
SILENT = (oslo_messaging.MessagingException, db_exception.DBError, exception.CellTimeout, OSError)
"""What is raised when a part of Nova does not answer, or says that a part behind it does not."""
AWAY = (
    *SILENT,
    neutron_exception.NeutronClientException,
    keystone_exception.ClientException,
    exception.PortBindingActivationFailed,
)
"""The same of what Nova asks when a guest has moved: Neutron, and Keystone for it."""


class Answers:
    """Asks the parts of Nova that this host works with."""

    def __init__(self, host: str, can_send: Callable[[Any, str], bool] = lambda context, version: True) -> None:
        """`can_send(context, version)`: whether all compute services take that version of their RPC."""
        self._host, self._can_send = host, can_send

    def wait_for(self, context: Any, instance_uuid: str, destination: str = "") -> None:
        """Until conductor and database answer, and the destination's compute service, if one is named, on its main queue and
        the one for what is under way."""
        pause_s, said = FIRST_PAUSE_S, False
        while (silent := self._silent(context, instance_uuid, destination)) is not None:
            if not said:
                LOG.warning("Waiting for %s: the end of a live migration is to be recorded", silent, instance_uuid=instance_uuid)
                said = True
            concurrency.pause(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    def wait_for_this_service(self, context: Any) -> None:
        """Until the compute service of this host takes calls, so has started in full."""
        while not self._answers(context, compute_rpcapi.RPC_TOPIC, self._host):
            concurrency.pause(FIRST_PAUSE_S)

    def standing(self, context: Any, instance_uuid: str, migration_uuid: str) -> Standing:
        """What the database says of a migration.

        :raises InstanceNotFound: the server was deleted.
        :raises SILENT: somebody does not answer.
        """
        instance = objects.Instance.get_by_uuid(context, instance_uuid, expected_attrs=[])
        if instance.deleted:
            raise exception.InstanceNotFound(instance_id=instance_uuid)
        migrations = list(objects.MigrationList.get_by_filters(context, {"instance_uuid": instance_uuid}))
        this = next((each for each in migrations if each.uuid == migration_uuid), None)
        later = [each for each in migrations if this is not None and int(each.id) > int(this.id)]
        return Standing(
            host=instance.host,
            task_state=instance.task_state,
            status=this.status if this is not None else "",
            is_newest=this is not None and not later,
            was_evacuated=any(each.migration_type == EVACUATION for each in later),
        )

    def standing_if_known(self, context: Any, instance_uuid: str, migration_uuid: str) -> Standing | None:
        """The same, or None when nobody answers soon: a guest may be standing still meanwhile.

        :raises InstanceNotFound: the server was deleted.
        """
        try:
            if not self._answers(context, CONDUCTOR):
                return None
            return self.standing(context, instance_uuid, migration_uuid)
        except SILENT:
            return None

    # --- for guests on their way here ---------------------------------------------------------------------------------

    def end_of(self, plan: MigrationPlan) -> str | None:
        """See `arrivals.EndOf`. Soon: a guest may be standing still meanwhile."""
        context = nova.context.get_admin_context("yes")
        try:
            if not self._answers(context, CONDUCTOR):
                return None
            if objects.Instance.get_by_uuid(context, plan.server.uuid, expected_attrs=[]).deleted:
                return DELETED
            now = self.standing(context, plan.server.uuid, plan.migration_uuid)
        except exception.InstanceNotFound:
            return GONE
        except SILENT:
            return None
        if now.host == self._host:
            return ARRIVED
        if now.status in (FAILED, CANCELLED) and not now.was_evacuated:
            return STAYED
        if now.status in FINAL_STATUSES or now.host != plan.source_host:
            return GONE
        return UNDER_WAY if is_still_coming(plan, now) else None

    # --- asking -----------------------------------------------------------------------------------------------------

    def _silent(self, context: Any, instance_uuid: str, destination: str) -> str | None:
        """Who does not answer; None when all do."""
        if not self._answers(context, CONDUCTOR):
            return "nova-conductor"
        try:
            objects.Instance.get_by_uuid(context, instance_uuid, expected_attrs=[])
            topics = self._topics(context) if destination else ()
        except exception.InstanceNotFound:
            return None
        except SILENT:
            return "the database"
        if not all(self._answers(context, topic, destination) for topic in topics):
            return f"nova-compute of {destination}"
        return None

    def _topics(self, context: Any) -> tuple[str, ...]:
        """Where a destination's compute service is asked: one that is older than the second queue has only the first."""
        main = compute_rpcapi.RPC_TOPIC
        return (main, compute_rpcapi.RPC_TOPIC_ALT) if self._can_send(context, ALT_SINCE) else (main,)

    def _answers(self, context: Any, topic: str, server: str | None = None) -> bool:
        target = oslo_messaging.Target(topic=topic, namespace=_NAMESPACE, version=_VERSION)
        try:
            rpc.get_client(target).prepare(server=server, timeout=PING_LIMIT_S).call(context, "ping", arg="blockmigrate")
        except oslo_messaging.MessagingException:
            return False
        return True
