"""The agent of a host: tells Neutron that the host lives, and that the ports which are bound to it are wired.

A port is wired as soon as it is bound here, before its guest is, or, of type "tap", when its device is in the bridge: Neutron then
makes it ACTIVE, if this is where it is in use, and tells "network-vif-plugged".
"""

import pathlib
import subprocess
import sys
import time

from neutron.agent import rpc as agent_rpc
from neutron.common import config
from neutron.conf.agent import common as agent_options
from neutron_lib import constants, context, rpc
from neutron_lib.agent import topics
from neutron_lib.api.definitions import portbindings
from oslo_config import cfg
from oslo_log import log

from labstack.bridge_driver import AGENT_TYPE, VIF_TYPE_TAP

LOG = log.getLogger(__name__)
LOOK_S = 0.3
REPORT_S = 10.0
DEVICES = pathlib.Path("/sys/class/net")


class BridgeAgent:
    def __init__(self, host: str, bridges: dict[str, str], has_taps: bool) -> None:
        """`has_taps`: whoever runs guests leaves it to us to put their devices into the one bridge that there is then."""
        self._host, self._bridges, self._has_taps = host, bridges, has_taps
        self._context = context.get_admin_context_without_session()
        self._states = agent_rpc.PluginReportStateAPI(topics.REPORTS)
        self._plugin = agent_rpc.PluginApi(topics.PLUGIN)
        self._seen: dict[str, str] = {}
        self._reported = -REPORT_S
        self._state = {
            "binary": "labstack-bridge-agent",
            "host": host,
            "topic": "N/A",
            "configurations": {"bridge_mappings": bridges},
            "agent_type": AGENT_TYPE,
            "start_flag": True,
        }

    def run(self) -> None:
        while True:
            try:
                self._report()
                self._look()
            except Exception:  # whatever Neutron, its broker or a device of the host did: an agent looks again
                LOG.exception("Neutron was not told")
                time.sleep(1)
            time.sleep(LOOK_S)

    def _report(self) -> None:
        if time.monotonic() - self._reported < REPORT_S:
            return
        self._states.report_state(self._context, self._state, True)
        self._state.pop("start_flag", None)
        self._reported = time.monotonic()

    def _look(self) -> None:
        """Wire what was bound here since the last look: the bridge is there already."""
        ports = {port["id"]: port["status"] for port in self._ports() if not self._has_taps or self._plug(port["id"])}
        for port_id, status in ports.items():
            # (again and again while it is down: what was said in the moment of a switch, Neutron may not have heeded)
            if port_id not in self._seen or status == constants.PORT_STATUS_DOWN:
                self._plugin.update_device_up(self._context, port_id, self._host, self._host)
                LOG.info("%s is up", port_id)
        self._seen = ports

    def _plug(self, port_id: str) -> bool:
        """Whether the port's device is in the bridge; it comes with its guest."""
        device = DEVICES / f"tap{port_id[:11]}"
        if device.exists() and not (device / "master").exists():
            (bridge,) = self._bridges.values()
            subprocess.run(["ip", "link", "set", device.name, "master", bridge, "up"], check=False)
        return (device / "master").exists()

    def _ports(self) -> list[dict[str, str]]:
        ports: list[dict[str, str]] = self._plugin.get_ports_by_vnic_type_and_host(
            self._context, portbindings.VNIC_NORMAL, self._host
        )
        return ports


def main() -> None:
    config.register_common_config_options()
    agent_options.register_agent_state_opts_helper(cfg.CONF)
    cfg.CONF(sys.argv[1:], project="neutron")
    config.setup_logging()
    rpc.init(cfg.CONF)
    options = cfg.CONF.labstack
    BridgeAgent(cfg.CONF.host, options.bridge_mappings, options.vif_type == VIF_TYPE_TAP).run()


if __name__ == "__main__":
    main()
