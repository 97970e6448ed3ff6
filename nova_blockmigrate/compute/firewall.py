"""Keeps the firewall of this host as the security groups say: told by a conductor, and asking one now and then.

Asking brings what a message did not (a host was away, a conductor died in between), and puts right what somebody else did to
the rules (a reload of nftables empties them all).
"""

from __future__ import annotations

from typing import Any

import oslo_messaging
from oslo_config import cfg
from oslo_log import log

from nova_blockmigrate import concurrency, exceptions, rpc
from nova_blockmigrate.context import service_context
from nova_blockmigrate.objects import Server, from_primitive
from nova_blockmigrate.virt.driver import ComputeDriver

LOG = log.getLogger(__name__)

ANSWER_TIME_S = 10
RETRY_S = 2.0


class FirewallWatch:
    """The periodic task."""

    def __init__(self, conf: cfg.ConfigOpts, host: str, driver: ComputeDriver) -> None:
        self._host = host
        self._driver = driver
        self._interval_s = float(conf.network.firewall_refresh_interval)
        self._conductors = rpc.client(conf, rpc.CONDUCTOR_TOPIC)

    def look(self) -> float:
        """Ask for the guests of this host and refresh their rules; returns the seconds until the next time."""
        try:
            client = self._conductors.prepare(timeout=ANSWER_TIME_S)
            guests: list[dict[str, Any]] = client.call(service_context(), "guests_of_host", host=self._host)
            refresh(self._driver, guests)
        except (oslo_messaging.MessagingTimeout, oslo_messaging.MessageDeliveryFailure) as error:
            LOG.debug("Nobody said what the firewall of %s has to say: %s", self._host, error)
            return min(RETRY_S, self._interval_s)
        except exceptions.BlockMigrateError as error:
            LOG.error("The firewall of %s cannot be refreshed: %s", self._host, error)
        return self._interval_s


def refresh(driver: ComputeDriver, guests: list[dict[str, Any]]) -> None:
    """Put the rules of guests (`objects.Server` as primitives) in force; those that are not here are passed over."""
    servers = [from_primitive(Server, guest) for guest in guests]
    concurrency.run_native(driver.refresh_firewall, servers)
