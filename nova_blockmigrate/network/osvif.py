"""os-vif, as the compute service has it: in a process of its own (`osvif_helper.py`), asked over pipes."""

from __future__ import annotations

from nova_blockmigrate.attendant import Attendant
from nova_blockmigrate.exceptions import NetworkError
from nova_blockmigrate.objects import Vif, VifType

HELPER = "nova_blockmigrate.network.osvif_helper"
PLUGINS = {VifType.BRIDGE: "blockmigrate_bridge", VifType.OVS: "ovs", VifType.OVS_HYBRID: "ovs"}
ANSWER_TIME_S = 60.0


class OsVif:
    """Plugs interfaces through os-vif."""

    def __init__(self, host: str) -> None:
        self._host = host
        self._attendant = Attendant(HELPER, answer_time_s=ANSWER_TIME_S)

    def start(self) -> None:
        """Have the process load while nobody waits for it."""
        self._attendant.start()

    def close(self) -> None:
        self._attendant.close()

    def plug(self, vif: Vif, uplink: str = "", datapath: str = "") -> None:
        """`uplink`: of a Linux bridge; `datapath`: of Open vSwitch's bridge, as it is, for os-vif would change it.

        :raises NetworkError: os-vif or its plugin could not.
        """
        self._ask("plug", vif, uplink, datapath)

    def unplug(self, vif: Vif, datapath: str = "") -> None:
        """:raises NetworkError: see `plug`."""
        self._ask("unplug", vif, "", datapath)

    def _ask(self, what: str, vif: Vif, uplink: str, datapath: str) -> None:
        request = {
            "do": what,
            "kind": vif.vif_type.value,
            "plugin": PLUGINS[vif.vif_type],
            "port_id": vif.port_id,
            "mac": vif.mac,
            "bridge": vif.bridge,
            "tap": vif.tap,
            "mtu": vif.mtu,
            "uplink": uplink,
            "switch": vif.switch,
            "datapath": datapath,
        }
        try:
            reason = self._attendant.ask(request)["error"]
        except OSError as error:
            reason = str(error)
        if reason:
            raise NetworkError(host=self._host, action=f"{what} {vif.tap}", reason=f"os-vif: {reason}")
