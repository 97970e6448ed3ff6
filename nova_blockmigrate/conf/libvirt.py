"""[libvirt]: the hypervisor, and how guests are moved. Nova's names and meanings."""

from oslo_config import cfg

OPTIONS = {
    "libvirt": [
        cfg.StrOpt("virt_type", default="kvm", choices=["kvm", "qemu"], help="Domain type: kvm, or qemu for software emulation."),
        cfg.StrOpt("connection_uri", default="qemu:///system", help="libvirt of this host."),
        cfg.StrOpt(
            "cpu_mode",
            default="host-model",
            choices=["host-model", "host-passthrough", "custom", "none"],
            help="CPU that guests see. For moving between unequal hosts: custom, with a model that all of them have.",
        ),
        cfg.ListOpt("cpu_models", default=[], help="CPU models for cpu_mode custom; the first that the host can run is used."),
        cfg.StrOpt("hw_machine_type", default="pc", help="Machine type for new guests; libvirt makes it a versioned one."),
        cfg.StrOpt(
            "disk_cachemode",
            default="none",
            choices=["none", "writethrough", "directsync"],
            help="Cache mode of local disks: safe ones.",
        ),
        cfg.StrOpt(
            "live_migration_uri",
            default="qemu+tcp://%s/system",
            help="URI by which the source's libvirt reaches the destination's; %s is the destination host. qemu+tcp is neither "
            "encrypted nor authenticated: use it on a closed network only, else qemu+tls.",
        ),
        cfg.ListOpt(
            "live_migration_flag",
            default=["VIR_MIGRATE_UNDEFINE_SOURCE", "VIR_MIGRATE_PEER2PEER", "VIR_MIGRATE_LIVE", "VIR_MIGRATE_PERSIST_DEST"],
            help="Flags of every live migration, by their libvirt names.",
        ),
        cfg.ListOpt(
            "block_migration_flag",
            default=[
                "VIR_MIGRATE_UNDEFINE_SOURCE",
                "VIR_MIGRATE_PEER2PEER",
                "VIR_MIGRATE_LIVE",
                "VIR_MIGRATE_PERSIST_DEST",
                "VIR_MIGRATE_NON_SHARED_INC",
            ],
            help="Flags of live migrations that copy local disks, by their libvirt names.",
        ),
        cfg.IntOpt(
            "live_migration_bandwidth",
            default=0,
            min=0,
            help="MiB/s at most for the memory and for each disk copied (libvirt applies the limit to each by itself, not to the "
            "total); 0: no limit.",
        ),
        cfg.IntOpt(
            "live_migration_downtime", default=500, min=100, help="Longest pause of the guest that is allowed, milliseconds."
        ),
        cfg.IntOpt(
            "live_migration_completion_timeout",
            default=800,
            min=0,
            help="Seconds that a transfer may take for each GiB that is really to be moved (memory, and what the local disks "
            "hold), at least one GiB; 0: no limit of this kind.",
        ),
        cfg.IntOpt(
            "live_migration_timeout",
            default=0,
            min=0,
            help="Seconds that a transfer may take, however much it moves; 0: no limit of this kind. The lower of the two counts.",
        ),
        cfg.StrOpt(
            "live_migration_timeout_action",
            default="abort",
            choices=[
                ("abort", "the guest stays where it is, the migration has failed"),
                (
                    "force_complete",
                    "the guest is paused for as long as the rest takes, or goes on by post-copy where that is permitted, as by a "
                    "user's force complete",
                ),
            ],
            help="What becomes of a transfer that takes longer than it may.",
        ),
        cfg.HostAddressOpt(
            "live_migration_inbound_addr",
            help="Address of this host at which it receives guests (memory stream and disks); empty: the name of the host.",
        ),
        cfg.FloatOpt(
            "live_migration_poll_interval",
            default=0.5,
            min=0.05,
            help="Seconds between two looks at a running transfer's progress.",
        ),
        cfg.BoolOpt(
            "live_migration_permit_auto_converge",
            default=False,
            help="Let QEMU slow down a guest that writes to its memory faster than the network can carry. Passed over where "
            "post-copy is permitted.",
        ),
        cfg.BoolOpt(
            "live_migration_permit_post_copy",
            default=False,
            help="Let a transfer that is forced to complete, by its user or by live_migration_timeout_action, go on by post-copy: "
            "the guest moves at once, and its memory follows. libvirt then switches every running guest that leaves this host by "
            "itself, without the proof that never two copies run; and a guest whose source or destination dies while its memory "
            "follows is lost as a running guest. See the failure guide.",
        ),
        cfg.IntOpt(
            "live_migration_parallel_connections", default=1, min=1, help="Network connections that carry the memory of one guest."
        ),
        cfg.BoolOpt(
            "live_migration_with_native_tls",
            default=False,
            help="Encrypt memory stream and disks with QEMU's own TLS (VIR_MIGRATE_TLS).",
        ),
    ]
}
