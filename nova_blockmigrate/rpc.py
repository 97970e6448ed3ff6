"""oslo.messaging, set up once: transport, serializer, servers and clients.

Topics: `conductor` (any conductor takes the message) and `compute` (always with the host as server). Arguments are
primitives; callers convert with `objects.to_primitive`. Calls are short and repeatable: long work is asked after again
(see `compute.rpcapi`), because after an outage of the broker a long call is not to be trusted.
"""

from __future__ import annotations

from typing import Any

import oslo_messaging
from kombu import exceptions as kombu_exceptions
from oslo_config import cfg
from oslo_messaging.rpc import dispatcher

from nova_blockmigrate import concurrency
from nova_blockmigrate.conf import messaging
from nova_blockmigrate.context import RequestContext

CONDUCTOR_TOPIC = "nova-blockmigrate-conductor"
COMPUTE_TOPIC = "nova-blockmigrate-compute"
EXCHANGE = "nova-blockmigrate"
DELIVERY_RETRIES = 1
ALLOWED_REMOTE_MODULES = ["nova_blockmigrate.exceptions"]

UNANSWERED = (oslo_messaging.MessagingTimeout, oslo_messaging.MessageDeliveryFailure, kombu_exceptions.OperationalError, OSError)
"""What a call or cast that was not answered raises. A broker that refuses a new connection shows through oslo.messaging as
kombu's error, or as the operating system's."""

_transport: oslo_messaging.Transport | None = None


class ContextSerializer(oslo_messaging.Serializer):  # type: ignore[misc]
    """Carries the request context; arguments pass as they are."""

    def serialize_entity(self, ctxt: Any, entity: Any) -> Any:
        return entity

    def deserialize_entity(self, ctxt: Any, entity: Any) -> Any:
        return entity

    def serialize_context(self, context: RequestContext) -> dict[str, Any]:
        values: dict[str, Any] = context.to_dict()
        values.pop("auth_token", None)  # nobody behind the API needs it
        return values

    def deserialize_context(self, context: dict[str, Any]) -> RequestContext:
        return RequestContext.from_dict(context)


def transport(conf: cfg.ConfigOpts) -> oslo_messaging.Transport:
    """The process's transport, opened at the first call."""
    global _transport
    if _transport is None:
        oslo_messaging.set_transport_defaults(EXCHANGE)
        messaging.set_defaults()
        _transport = oslo_messaging.get_rpc_transport(conf, allowed_remote_exmods=ALLOWED_REMOTE_MODULES)
    return _transport


def cleanup() -> None:
    """Close the transport; the next `transport` opens a new one."""
    global _transport
    if _transport is not None:
        _transport.cleanup()
        _transport = None


def server(conf: cfg.ConfigOpts, topic: str, host: str, endpoint: object) -> oslo_messaging.MessageHandlingServer:
    """A server for `topic` on this host; `endpoint`'s public methods are what can be called."""
    return oslo_messaging.get_rpc_server(
        transport(conf),
        oslo_messaging.Target(topic=topic, server=host),
        [endpoint],
        executor=concurrency.executor(),
        serializer=ContextSerializer(),
        access_policy=dispatcher.DefaultRPCAccessPolicy,
    )


def client(conf: cfg.ConfigOpts, topic: str) -> oslo_messaging.RPCClient:
    """A client that gives up (`UNANSWERED`) when the broker stays away: every caller knows what to do then."""
    target = oslo_messaging.Target(topic=topic)
    return oslo_messaging.get_rpc_client(transport(conf), target, serializer=ContextSerializer(), retry=DELIVERY_RETRIES)
