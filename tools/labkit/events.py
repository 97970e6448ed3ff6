"""Notes when domains change state on every host, by libvirt's lifecycle events and the monotonic clock.

`Watcher` starts and reads it; run as a program, in the controller's network with libvirt-python, it writes one JSON line an event.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from labkit.lab import Lab

RESUMED = 4  # VIR_DOMAIN_EVENT_RESUMED
SUSPENDED = 3  # VIR_DOMAIN_EVENT_SUSPENDED


@dataclass(frozen=True)
class Event:
    """One lifecycle event: seconds by the monotonic clock, libvirt's event and detail numbers."""

    at: float
    host: str
    domain: str
    event: int
    detail: int


class Watcher:
    """Collects events on all hosts of a laboratory while the context lasts."""

    def __init__(self, lab: "Lab") -> None:
        self._lab = lab

    def __enter__(self) -> "Watcher":
        from labkit.layout import VENV

        self._folder = tempfile.TemporaryDirectory(prefix="nbm-events-")
        self._path = Path(self._folder.name) / "events.jsonl"
        layout = self._lab.layout
        hosts = [f"{host.name}={host.management_ip}" for host in layout.hosts]
        self._process = subprocess.Popen(
            ["ip", "netns", "exec", layout.controller.namespace, str(VENV / "bin/python"), __file__, str(self._path), *hosts],
            stdout=subprocess.PIPE,
            text=True,
        )
        if not self._process.stdout or self._process.stdout.readline() != "ready\n":
            raise RuntimeError("the watcher of events did not start")
        return self

    def __exit__(self, *_: object) -> None:
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(15)
        self._folder.cleanup()

    def events(self) -> list[Event]:
        """What came so far."""
        return [Event(**json.loads(line)) for line in self._path.read_text().splitlines()]

    def first(self, host: str, event: int, after: float) -> float | None:
        """When this event first came from a host after an instant; None when it has not."""
        return min((one.at for one in self.events() if (one.host, one.event) == (host, event) and one.at >= after), default=None)


def main() -> None:
    import libvirt

    parser = argparse.ArgumentParser(description="Note lifecycle events of all domains.")
    parser.add_argument("output")
    parser.add_argument("hosts", nargs="+", metavar="NAME=ADDRESS")
    given = parser.parse_args()
    libvirt.virEventRegisterDefaultImpl()

    def loop() -> None:
        while True:
            libvirt.virEventRunDefaultImpl()

    threading.Thread(target=loop, daemon=True).start()
    with open(given.output, "w", buffering=1) as output:

        def note(connection: object, domain: "libvirt.virDomain", event: int, detail: int, host: str) -> None:
            line = {"at": time.monotonic(), "host": host, "domain": domain.name(), "event": event, "detail": detail}
            output.write(json.dumps(line) + "\n")

        connections = []
        for host in given.hosts:
            name, address = host.split("=")
            connection = libvirt.openReadOnly(f"qemu+tcp://{address}/system")
            connection.domainEventRegisterAny(None, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, note, name)
            connections.append(connection)
        print("ready", flush=True)
        signal.sigwait({signal.SIGTERM, signal.SIGINT})
        output.flush()
        os._exit(0)


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    main()
    sys.exit(0)
