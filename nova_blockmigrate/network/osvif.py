"""os-vif, as the compute service has it: in a process of its own (`osvif_helper.py`), asked over pipes.

The process is kept, as it takes a second to load; one that has ended is started again at the next request.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from nova_blockmigrate.concurrency import native, original
from nova_blockmigrate.exceptions import NetworkError
from nova_blockmigrate.objects import Vif, VifType

HELPER = "nova_blockmigrate.network.osvif_helper"
PLUGINS = {VifType.BRIDGE: "blockmigrate_bridge", VifType.OVS: "ovs"}
ANSWER_TIME_S = 60.0


class OsVif:
    """Plugs interfaces through os-vif."""

    def __init__(self, host: str) -> None:
        self._host = host
        self._lock = native.threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Have the process load while nobody waits for it."""
        with self._lock:
            self._running()

    def close(self) -> None:
        with self._lock:
            self._end()

    def plug(self, vif: Vif, uplink: str = "") -> None:
        """:raises NetworkError: os-vif or its plugin could not."""
        self._ask("plug", vif, uplink)

    def unplug(self, vif: Vif) -> None:
        """:raises NetworkError: see `plug`."""
        self._ask("unplug", vif, "")

    def _ask(self, what: str, vif: Vif, uplink: str) -> None:
        request = {
            "do": what,
            "plugin": PLUGINS[vif.vif_type],
            "port_id": vif.port_id,
            "mac": vif.mac,
            "bridge": vif.bridge,
            "tap": vif.tap,
            "mtu": vif.mtu,
            "uplink": uplink,
        }
        with self._lock:
            reason = self._exchange(request)
        if reason:
            raise NetworkError(host=self._host, action=f"{what} {vif.tap}", reason=f"os-vif: {reason}")

    def _exchange(self, request: dict[str, Any]) -> str:
        process = self._running()
        assert process.stdin is not None and process.stdout is not None  # noqa: S101 - both are pipes
        try:
            process.stdin.write(json.dumps(request).encode() + b"\n")
            process.stdin.flush()
            answered = _readable(process.stdout.fileno(), ANSWER_TIME_S) and process.stdout.readline()
        except OSError as error:
            self._end()
            return f"its process cannot be reached: {error}"
        if not answered:
            self._end()
            return "its process ended or hangs: what it said is in the log of the compute service"
        return str(json.loads(answered)["error"])

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            self._process = subprocess.Popen(
                [sys.executable, "-m", HELPER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
            )
        return self._process

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()


def _readable(descriptor: int, timeout_s: float) -> bool:
    module: Any = original("select")
    poll = module.poll()
    poll.register(descriptor, module.POLLIN)
    return bool(poll.poll(timeout_s * 1000))
