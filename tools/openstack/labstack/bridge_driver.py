"""Neutron's side of the bridges: binds a port on every host whose bridge agent is alive (`bridge_agent`).

Neutron itself lost its driver for Linux bridges in 2025; those that it has left need Open vSwitch, OVN or special cards. Nova
plugs nothing into bridges any more either: for it ports are of type "tap", a device that it makes, and the agent puts it into
the bridge.
"""

from neutron.plugins.ml2.drivers import mech_agent
from neutron_lib import constants
from neutron_lib.api.definitions import portbindings
from oslo_config import cfg

AGENT_TYPE = "Laboratory bridge agent"
VIF_TYPE_TAP = "tap"
OPTIONS = [
    cfg.DictOpt("bridge_mappings", default={}, help="Bridge of this host by physical network."),
    cfg.StrOpt(
        "vif_type",
        default=portbindings.VIF_TYPE_BRIDGE,
        choices=[portbindings.VIF_TYPE_BRIDGE, VIF_TYPE_TAP],
        help="Who puts a guest's interface into the bridge: what runs the guest, or the agent.",
    ),
]
cfg.CONF.register_opts(OPTIONS, "labstack")


class BridgeMechanismDriver(mech_agent.SimpleAgentMechanismDriverBase):
    """With the bridge's name, which may be another one on each host."""

    def __init__(self):
        super().__init__(AGENT_TYPE, cfg.CONF.labstack.vif_type, {portbindings.CAP_PORT_FILTER: False})

    @property
    def connectivity(self):
        return portbindings.CONNECTIVITY_L2

    def get_allowed_network_types(self, agent=None):
        return (constants.TYPE_FLAT,)

    def get_mappings(self, agent):
        return agent["configurations"].get("bridge_mappings", {})

    def get_vif_details(self, context, agent, segment):
        return {**self.vif_details, "bridge_name": self.get_mappings(agent)[segment["physical_network"]]}
