"""[image] and [glance]: where images come from."""

from keystoneauth1 import loading
from oslo_config import cfg

GROUP = "glance"
DEFAULT_TIMEOUT_S = 60

_GLANCE: list[cfg.Opt] = [
    cfg.IntOpt(
        "num_retries",
        default=3,
        min=0,
        help="How often a host asks again for an image whose download was cut off; it goes on where it ended.",
    ),
    *loading.get_session_conf_options(),
    *loading.get_auth_common_conf_options(),
    *loading.get_adapter_conf_options(include_deprecated=False),
]
cfg.set_defaults(_GLANCE, timeout=DEFAULT_TIMEOUT_S, service_type="image", valid_interfaces=["internal", "public"])

OPTIONS = {
    "image": [
        cfg.StrOpt(
            "backend",
            default="local",
            choices=[
                ("local", "files in [image] local_directory, see `nova-blockmigrate-manage image`"),
                ("glance", "an Image service, by its API v2, as [glance] says; [api] auth_strategy should be keystone then"),
            ],
            help="Who keeps images. The same for the API services and all compute hosts.",
        ),
        cfg.StrOpt(
            "local_directory",
            default="/var/lib/nova-blockmigrate/images",
            help="Directory with the images, each in a file named by its id. `nova-blockmigrate-manage image create` puts them "
            "there; every compute host must see the same files (shared, or copied).",
        ),
    ],
    "image_cache": [
        cfg.BoolOpt(
            "remove_unused_base_images",
            default=True,
            help="Remove base images of ours from `instances_path`/_base that no guest of the host needs any more.",
        ),
        cfg.IntOpt(
            "remove_unused_original_minimum_age_seconds",
            default=24 * 3600,
            min=0,
            help="Seconds for which no guest of the host must have needed a base image before it is removed.",
        ),
        cfg.IntOpt("manager_interval", default=2400, min=-1, help="Seconds between two looks for such images; 0 or -1: none."),
    ],
    GROUP: _GLANCE,
}
# (registered by keystoneauth for the auth_type that is chosen, as some of them are required then; here for the sample only)
SHOWN_OPTIONS = {GROUP: loading.get_auth_plugin_conf_options("password")}
