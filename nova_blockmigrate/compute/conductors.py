"""What a host asks of the conductors before it does what cannot be taken back."""

from __future__ import annotations

import oslo_messaging
from oslo_config import cfg
from oslo_log import log

from nova_blockmigrate import rpc
from nova_blockmigrate.context import service_context
from nova_blockmigrate.objects import MigrationPlan

LOG = log.getLogger(__name__)

ANSWER_TIME_S = 5


class Conductors:
    def __init__(self, conf: cfg.ConfigOpts, host: str) -> None:
        self._conf, self._host = conf, host

    def say_it_goes_on(self, plan: MigrationPlan) -> bool:
        """Whether a conductor says that this migration to this host is under way; false, too, when none answers."""
        asked = {"migration_uuid": plan.migration_uuid, "host": self._host}
        client = rpc.client(self._conf, rpc.CONDUCTOR_TOPIC).prepare(timeout=ANSWER_TIME_S)
        try:
            return bool(client.call(service_context(plan.request_id), "is_under_way", **asked))
        except (*rpc.UNANSWERED, oslo_messaging.MessagingException) as error:
            LOG.warning("%s no conductor says whether it is under way: %s", plan.label, error)
            return False
