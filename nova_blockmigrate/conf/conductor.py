"""[conductor]: the service that runs migrations."""

from oslo_config import cfg

OPTIONS = {
    "conductor": [
        cfg.IntOpt(
            "lease_time",
            default=15,
            min=3,
            help="Seconds for which a conductor owns a migration without renewing; after that another one takes it over.",
        ),
        cfg.FloatOpt("takeover_interval", default=3.0, min=0.2, help="Seconds between two looks for migrations without an owner."),
        cfg.IntOpt(
            "max_parallel_checks",
            default=16,
            min=1,
            help="Migrations that one conductor checks at a time. More wait for their checks, so that hosts and conductor answer "
            "in time when a thousand are asked for at once.",
        ),
        cfg.FloatOpt(
            "host_timeout",
            default=20.0,
            min=1.0,
            help="Seconds that a host may take to answer one short call before it counts as not answering. Before the transfer "
            "that fails the migration; from then on it is asked again.",
        ),
    ]
}
