"""[notifications]: what other programs are told about servers. Where it goes is oslo.messaging's [oslo_messaging_notifications]."""

from oslo_config import cfg

OPTIONS = {
    "notifications": [
        cfg.StrOpt(
            "notification_format",
            default="unversioned",
            choices=["unversioned", "versioned", "both"],
            help="Nova's option: versioned or both send versioned notifications, where [oslo_messaging_notifications] driver names "
            "a driver. There are no unversioned ones here, so unversioned sends nothing.",
        ),
        cfg.ListOpt("versioned_notifications_topics", default=["versioned_notifications"], help="Topics that they are sent to."),
        cfg.IntOpt(
            "queue_size",
            default=1000,
            min=1,
            help="How many notifications wait in memory while the broker does not take them. What comes beyond is dropped, which "
            "the log tells: nothing that is done to servers waits for notifications.",
        ),
    ]
}
