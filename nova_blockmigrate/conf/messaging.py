"""[oslo_messaging_rabbit]: oslo.messaging's own options; here only our defaults for them."""

from oslo_config import cfg
from oslo_messaging._drivers import impl_rabbit  # the options have no public name; their own is what the documentation calls them

HEARTBEAT_TIMEOUT_S = 20
"""Also how long the kernel keeps a connection whose data nobody acknowledges. With oslo.messaging's 60 s a connection outlives a
cut of 30 s, and its next packet may leave 25 s after the network is back, as TCP doubles the pauses between its attempts; a new
connection is there within seconds. RabbitMQ's documentation recommends 5 to 20 s."""


def set_defaults() -> None:
    """Entry point `oslo.config.opts.defaults`; to be called before the first connection."""
    cfg.set_defaults(impl_rabbit.rabbit_opts, heartbeat_timeout_threshold=HEARTBEAT_TIMEOUT_S)
