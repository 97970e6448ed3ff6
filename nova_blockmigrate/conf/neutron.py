"""[neutron] and what Nova has beside it: networks that Neutron owns."""

from keystoneauth1 import loading
from oslo_config import cfg

GROUP = "neutron"
DEFAULT_TIMEOUT_S = 30

_NEUTRON: list[cfg.Opt] = [
    cfg.StrOpt("ovs_bridge", default="br-int", help="Open vSwitch bridge of guests, when Neutron names none."),
    cfg.ListOpt(
        "plugged_when_bound",
        default=[],
        help="Types of bindings (vif_type) for which Neutron says network-vif-plugged as soon as a port is bound to a host "
        "that is ready for it, without having seen the guest's interface. Only then can it be awaited before a transfer.",
    ),
    *loading.get_session_conf_options(),
    *loading.get_auth_common_conf_options(),
    *loading.get_adapter_conf_options(include_deprecated=False),
]
cfg.set_defaults(_NEUTRON, timeout=DEFAULT_TIMEOUT_S, service_type="network", valid_interfaces=["internal", "public"])

OPTIONS = {
    "DEFAULT": [
        cfg.StrOpt(
            "network_backend",
            default="embedded",
            help="Who owns networks and ports: embedded (this service, see `nova-blockmigrate-manage network`) or neutron. The "
            "same for all services of a deployment. Other backends are found in the entry points `nova_blockmigrate.network`.",
        ),
        cfg.IntOpt(
            "vif_plugging_timeout",
            default=300,
            min=0,
            help="Seconds to wait, before a guest is moved, for Neutron's word that its ports are wired on the destination "
            "(network-vif-plugged). 0: do not wait.",
        ),
        cfg.BoolOpt(
            "vif_plugging_is_fatal",
            default=True,
            help="Whether a migration fails when that word does not come in time, or says that wiring failed. Else it goes on, "
            "with a warning.",
        ),
    ],
    "compute": [
        cfg.BoolOpt(
            "live_migration_wait_for_vif_plug",
            default=True,
            help="Whether to wait for network-vif-plugged at all, where the port's binding lets it be expected before the "
            "transfer: with ovs_hybrid_plug, and for the types in [neutron] plugged_when_bound.",
        ),
    ],
    GROUP: _NEUTRON,
}
# (registered by keystoneauth for the auth_type that is chosen, as some of them are required then; here for the sample only)
SHOWN_OPTIONS = {GROUP: loading.get_auth_plugin_conf_options("password")}
