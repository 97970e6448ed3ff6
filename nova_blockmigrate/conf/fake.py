"""[fake]: the driver that keeps its guests in memory, for tests and for trying the API at scale."""

from oslo_config import cfg

OPTIONS = {
    "fake": [
        cfg.IntOpt("memory_mib", default=65536, min=1, help="Memory of every fake host, MiB."),
        cfg.IntOpt("vcpus", default=64, min=1, help="Processors of every fake host."),
        cfg.IntOpt("disk_gib", default=1000, min=1, help="Disk of every fake host, GiB."),
        cfg.FloatOpt("transfer_time_s", default=1.0, min=0, help="Seconds that copying a guest takes."),
        cfg.ListOpt(
            "fail_at",
            default=[],
            help="Driver methods that fail, as METHOD (on every host) or HOST:METHOD; example: compute2:pre_live_migration.",
        ),
    ]
}
