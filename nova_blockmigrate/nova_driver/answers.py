"""Whether Nova's own parts answer: asked by short calls that may be repeated, because after an outage of the broker or the database
a long call may wait for an answer that was lost.

Every service of Nova answers `ping`, on each of its queues.
"""

from __future__ import annotations

from typing import Any

import oslo_messaging
from nova import exception, objects, rpc
from nova.compute import rpcapi as compute_rpcapi
from oslo_db import exception as db_exception
from oslo_log import log

from nova_blockmigrate import concurrency

LOG = log.getLogger(__name__)

PING_LIMIT_S = 4
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 10.0
_NAMESPACE, _VERSION = "baseapi", "1.0"
CONDUCTOR = "conductor"
SILENT = (oslo_messaging.MessagingException, db_exception.DBError, exception.CellTimeout, OSError)
"""What is raised when a part of Nova does not answer, or says that a part behind it does not."""


class Answers:
    """Asks the parts of Nova that this host works with."""

    def __init__(self, host: str) -> None:
        self._host = host

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

    def _silent(self, context: Any, instance_uuid: str, destination: str) -> str | None:
        """Who does not answer; None when all do."""
        if not self._answers(context, CONDUCTOR):
            return "nova-conductor"
        try:
            objects.Instance.get_by_uuid(context, instance_uuid, expected_attrs=[])
        except exception.InstanceNotFound:
            return None
        except SILENT:
            return "the database"
        topics = (compute_rpcapi.RPC_TOPIC, compute_rpcapi.RPC_TOPIC_ALT) if destination else ()
        if not all(self._answers(context, topic, destination) for topic in topics):
            return f"nova-compute of {destination}"
        return None

    def _answers(self, context: Any, topic: str, server: str | None = None) -> bool:
        target = oslo_messaging.Target(topic=topic, namespace=_NAMESPACE, version=_VERSION)
        try:
            rpc.get_client(target).prepare(server=server, timeout=PING_LIMIT_S).call(context, "ping", arg="blockmigrate")
        except oslo_messaging.MessagingException:
            return False
        return True
