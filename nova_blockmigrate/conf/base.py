"""[DEFAULT]: what every service has."""

import socket

from oslo_config import cfg

OPTIONS = {
    "DEFAULT": [
        cfg.StrOpt(
            "concurrency",
            default="eventlet",
            choices=[("eventlet", "green threads"), ("threading", "native threads")],
            help="What the services run on. Read once, before anything else starts.",
        ),
        cfg.HostAddressOpt(
            "host",
            default=socket.gethostname(),
            sample_default="<name of this host>",
            help="Name of this host: what clients give as the destination, and what `live_migration_uri` is filled with. "
            "Other hosts must be able to resolve it.",
        ),
        cfg.HostAddressOpt("my_ip", default="127.0.0.1", help="Address of this host on the management network."),
        cfg.StrOpt("state_path", default="/var/lib/nova-blockmigrate", help="Where services keep what must survive."),
        cfg.IntOpt("report_interval", default=10, min=1, help="Seconds between two signs of life of a service."),
        cfg.IntOpt(
            "service_down_time", default=60, min=2, help="A service is down when it was silent for more than this many seconds."
        ),
    ]
}
