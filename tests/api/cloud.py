"""The whole product in one process, for the API tests: real API, conductor and computes, hosts in memory.

Started by `conftest.py`. Reads one JSON request a line from standard input and answers each with a line on standard output;
ends when the input does. Requests: {"do": NAME, ...arguments}; names are the methods of `Controls`, and of `FakeHost` when
a "host" is named.
"""

from __future__ import annotations

import json
import os
import pathlib
import sys
import traceback
from collections.abc import Callable
from typing import Any

from nova_blockmigrate import concurrency

HOSTS = ("compute1", "compute2", "compute3")
FLAVORS = (("m1.tiny", 256), ("m1.large", 8192))
TOKENS = {"admin": ("admin",), "member": ("member",), "reader": ("reader",)}


class Controls:
    """The running parts, and what tests may do to them."""

    def __init__(self, state: pathlib.Path) -> None:
        from nova_blockmigrate import conf as configuration
        from nova_blockmigrate.virt import fake_cloud

        self.conf = configuration.load(["--config-file", str(state / "nova-blockmigrate.conf")])
        self.cloud = fake_cloud.shared()
        self.computes: dict[str, Any] = {}
        self.conductor: Any = None
        self.tokens = self._fill()

    def start(self) -> dict[str, Any]:
        from nova_blockmigrate.api.server import ApiService

        self.start_conductor()
        for host in HOSTS:
            self.start_compute(host)
        self.api = ApiService(self.conf)
        self.api.start()
        return {"tokens": self.tokens}

    def start_conductor(self) -> None:
        from nova_blockmigrate.conductor.service import ConductorService

        if self.conductor is None:
            self.conductor = ConductorService(self.conf)
            self.conductor.start()

    def stop_conductor(self) -> None:
        """As SIGTERM does."""
        self.conductor.stop()
        self.conductor = None

    def start_compute(self, name: str) -> None:
        from nova_blockmigrate.compute.service import ComputeService
        from nova_blockmigrate.virt.fake import FakeDriver

        if name not in self.computes:
            self.computes[name] = ComputeService(self.conf, FakeDriver(self.conf), name)
            self.computes[name].start()

    def stop_compute(self, name: str) -> None:
        self.computes.pop(name).stop()

    def reset(self) -> None:
        """Take back what a test did to hosts and services."""
        for host in self.cloud.hosts.values():
            concurrency.run_native(host.reset)
        self.start_conductor()
        for name in HOSTS:
            self.start_compute(name)

    def where(self, uuid: str) -> dict[str, str]:
        return {host: str(copy) for host, copy in concurrency.run_native(self.cloud.where, uuid).items()}

    def leftovers(self, uuid: str) -> list[str]:
        """What hosts without the running guest still have of it: disks, taps, ledgers."""
        alive = {host for host, copy in self.cloud.where(uuid).items()}
        found = [
            f"{host.name}: {path}" for host in self.cloud.hosts.values() for path, disk in host.disks.items() if disk.owner == uuid
        ]
        return [each for each in found if each.partition(":")[0] not in alive]

    def make_volume(self, volume_id: str, project: str = "demo") -> None:
        from nova_blockmigrate.volume import api, fake

        fake.shared.volumes[volume_id] = api.Volume(volume_id, "data", 1, project_id=project)

    def make_security_group(self, name: str, project: str = "demo") -> None:
        from nova_blockmigrate.db import session
        from nova_blockmigrate.db.queries import security_groups

        with session.writer() as db:
            security_groups.create(db, project, name)

    def rights(self, volume_id: str) -> list[str]:
        """Hosts that may use a volume."""
        from nova_blockmigrate.volume import fake

        return sorted(host for volume, _, host in fake.shared.rights if volume == volume_id)

    def alarms(self) -> list[str]:
        return self.cloud.alarms

    def _fill(self) -> dict[str, str]:
        """Tables, tokens, flavors and an image."""
        from nova_blockmigrate.api.auth import TokenFile
        from nova_blockmigrate.db import schema, session
        from nova_blockmigrate.db.queries import flavors, images

        schema.sync(self.conf)
        session.configure(self.conf)
        with session.writer() as db:
            for name, memory_mib in FLAVORS:
                flavors.create(db, name=name, memory_mib=memory_mib, vcpus=1, root_gib=1)
            images.create(db, name="guest", disk_format="qcow2", size_bytes=16 * 1024**2, sha256="ab" * 32)
        file = TokenFile(self.conf.api.token_file)
        return {name: file.add(name, "demo", roles, name, "2026-01-01T00:00:00Z") for name, roles in TOKENS.items()}


def answer(controls: Controls, request: dict[str, Any]) -> Any:
    name = request.pop("do")
    if "host" in request:
        target: Callable[..., Any] = getattr(controls.cloud.host(request.pop("host")), name)
        return concurrency.run_native(target, **request)  # (the cloud's lock is a native one)
    return getattr(controls, name)(**request)


def main(state: str, mode: str) -> None:
    concurrency.setup(mode)
    controls = Controls(pathlib.Path(state))
    print(json.dumps({"result": controls.start()}), flush=True)
    while line := concurrency.run_native(sys.stdin.readline):
        try:
            reply = {"result": answer(controls, json.loads(line))}
        except Exception as error:  # noqa: BLE001 - the border of the process: the test raises it
            traceback.print_exc()
            reply = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(reply), flush=True)
    os._exit(0)  # at once: nothing of a test's product needs an orderly end


if __name__ == "__main__":
    main(*sys.argv[1:])
