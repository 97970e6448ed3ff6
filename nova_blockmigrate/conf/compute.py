"""[DEFAULT] options of the compute service, and limits on migrations."""

from oslo_config import cfg

OPTIONS = {
    "DEFAULT": [
        cfg.StrOpt(
            "compute_driver", default="libvirt", help="Hypervisor driver, by its name in the entry points `nova_blockmigrate.virt`."
        ),
        cfg.StrOpt("instances_path", default="/var/lib/nova/instances", help="Where the disks of servers lie on this host."),
        cfg.BoolOpt(
            "force_raw_images",
            default=True,
            help="Keep base images in raw format whatever format they came in: faster for guests, sparse on disk.",
        ),
        cfg.IntOpt(
            "max_concurrent_live_migrations",
            default=1,
            min=1,
            help="Live migrations that may run at the same time from one host, and to one host. More wait in the queue.",
        ),
        cfg.IntOpt(
            "migrate_max_retries",
            default=3,
            min=0,
            help="How many more hosts are tried when a migration that named none fails before its point of no return.",
        ),
        cfg.IntOpt("reserved_host_memory_mb", default=512, min=0, help="Memory of the host that is never given to guests, MiB."),
        cfg.IntOpt("reserved_host_disk_mb", default=0, min=0, help="Disk of the host that is never given to guests, MiB."),
        cfg.FloatOpt("ram_allocation_ratio", default=1.0, min=0.1, help="How much memory may be promised for each MiB there is."),
        cfg.FloatOpt("disk_allocation_ratio", default=1.0, min=0.1, help="How much disk may be promised for each GiB there is."),
        cfg.BoolOpt(
            "enforce_disk_allocation_ratio",
            default=False,
            help="Refuse a live migration that would promise more disk than disk_allocation_ratio allows; else that is a warning, "
            "as disks are sparse. Room for what they occupy now is always required.",
        ),
        cfg.IntOpt("shutdown_timeout", default=60, min=0, help="Seconds that a guest may take to shut down when it is stopped."),
    ]
}
