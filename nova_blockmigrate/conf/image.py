"""[image]: where images come from."""

from oslo_config import cfg

OPTIONS = {
    "image": [
        cfg.StrOpt(
            "local_directory",
            default="/var/lib/nova-blockmigrate/images",
            help="Directory with the images, each in a file named by its id. `nova-blockmigrate-manage image create` puts them "
            "there; every compute host must see the same files (shared, or copied).",
        ),
    ]
}
