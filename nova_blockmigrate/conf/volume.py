"""[volume] and [embedded_volume]: where volumes come from, and how hosts reach them."""

from keystoneauth1 import loading
from oslo_config import cfg

OPTIONS = {
    "volume": [
        cfg.StrOpt(
            "backend",
            default="embedded",
            help="Who keeps volumes, by its name in the entry points `nova_blockmigrate.volume`: embedded (files on the "
            "conductor's host, served by tgt) or cinder.",
        ),
        cfg.StrOpt(
            "initiator_name",
            default="",
            help="iSCSI name of this compute host, under which QEMU logs in to targets. Unique for each host. Empty: the name in "
            "/etc/iscsi/initiatorname.iscsi, else iqn.2008-11.org.linux-kvm: and the name of the host.",
        ),
        cfg.StrOpt(
            "iscsi_connector",
            default="qemu",
            choices=[
                ("qemu", "QEMU logs in by itself: nothing of the volume is on the host."),
                ("os-brick", "The kernel's initiator logs in, by os-brick (open-iscsi): the volume is a block device of the host."),
            ],
            help="Who reaches iSCSI volumes on this compute host. Other protocols (Fibre Channel, NVMe over fabrics, RBD, NFS, "
            "files) are always os-brick's. Guests change over when they move.",
        ),
        cfg.BoolOpt(
            "multipath",
            default=False,
            help="Have os-brick use all paths to a volume; needs multipathd on this compute host.",
        ),
        cfg.FloatOpt(
            "watch_interval",
            default=5.0,
            min=0.5,
            help="Seconds between two looks of a conductor at what attaching, detaching, migrating and deleting left undone, and "
            "at whether the embedded backend still serves what it should.",
        ),
    ],
    "embedded_volume": [
        cfg.StrOpt(
            "directory",
            default="/var/lib/nova-blockmigrate/volumes",
            help="Where the embedded backend keeps volumes (sparse files) and who may use them. On the host of the conductors: "
            "with this backend all conductors run on one host, the storage host, which also runs tgtd.",
        ),
        cfg.HostAddressOpt(
            "portal_address",
            sample_default="<my_ip>",
            help="Address at which compute hosts reach tgtd. Empty: `my_ip`.",
        ),
        cfg.PortOpt("portal_port", default=3260, help="Port at which compute hosts reach tgtd."),
        cfg.BoolOpt(
            "chap",
            default=True,
            help="Have each attachment of a volume get a user and a password of its own, without which nobody gets in.",
        ),
        cfg.IntOpt("tgtadm_control_port", default=0, min=0, help="tgtd's control port, as in `tgtd --control-port`."),
    ],
    "cinder": [
        *loading.get_auth_common_conf_options(),
        *loading.get_session_conf_options(),
        *loading.get_adapter_conf_options(include_deprecated=False),
    ],
}
