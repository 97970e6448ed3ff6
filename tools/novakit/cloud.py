"""What tests and fault cases do to a cloud, as its administrator, and what they read from its hosts."""

from __future__ import annotations

import contextlib
import http.client
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from labkit import machine, neutron, nova, postgres, rabbitmq, scenario, seed
from labkit.commands import wait_until
from labkit.errors import LabError
from labkit.guest import Guest, verify_records
from labkit.layout import INSTANCES

HOSTS = ("compute1", "compute2")
SOURCE, DESTINATION = HOSTS
SLOW_MBIT_S = 12
"""So that a copy lasts long enough for something to be broken in it."""
PATIENCE_S = 300
STATE = "nova/state/blockmigrate"


@dataclass(frozen=True)
class Server:
    id: str
    name: str
    domain: str

    @property
    def folder(self) -> str:
        return f"{INSTANCES}/{self.id}"

    @property
    def disk(self) -> str:
        return f"{self.folder}/disk"


class Cloud:
    def __init__(self, lab: Any) -> None:
        self.lab = lab
        self._servers: list[Server] = []
        self._heard: dict[str, str] = {}
        self.lab.limit_rate(SOURCE, None)

    # --- asking -----------------------------------------------------------------------------------------------------

    def request(self, method: str, path: str, body: Any = None) -> Any:
        return nova.ask(self.lab.layout, seed.token_of(self.lab.layout), method, path, body)

    def show(self, server: Server) -> dict[str, Any]:
        shown: dict[str, Any] = self.request("GET", f"/servers/{server.id}")["server"]
        return shown

    def migration(self, server: Server) -> dict[str, Any]:
        """The newest. LabError when there is none yet."""
        found: list[dict[str, Any]] = self.request("GET", f"/os-migrations?instance_uuid={server.id}&limit=1")["migrations"]
        if not found:
            raise LabError(f"server {server.id} has no migration")
        return found[0]

    def reasons(self, server: Server) -> str:
        """What the server's live migrations say went wrong."""
        actions = self.request("GET", f"/servers/{server.id}/os-instance-actions")["instanceActions"]
        texts: list[str] = []
        for action in actions:
            if action["action"] == "live-migration":
                shown = self.request("GET", f"/servers/{server.id}/os-instance-actions/{action['request_id']}")["instanceAction"]
                texts += [event.get("details") or "" for event in shown["events"]]
        return "\n".join(filter(None, texts))

    def allocations(self, consumer: str) -> dict[str, Any]:
        """What placement keeps for a server or a migration, by resource provider."""
        asked = nova.ask_placement(self.lab.layout, seed.token_of(self.lab.layout), f"/allocations/{consumer}")
        found: dict[str, Any] = asked["allocations"]
        return found

    def provider(self, host: str) -> str:
        asked = nova.ask_placement(self.lab.layout, seed.token_of(self.lab.layout), f"/resource_providers?name={host}")
        listed = (
            asked["resource_providers"]
            or nova.ask_placement(self.lab.layout, seed.token_of(self.lab.layout), "/resource_providers")["resource_providers"]
        )
        return str(next(one["uuid"] for one in listed if one["name"].split(".")[0] == host))

    def drop_allocations(self, consumer: str) -> None:
        nova.forget_allocations(self.lab.layout, seed.token_of(self.lab.layout), consumer)

    def reported_at(self, host: str) -> str:
        """When its nova-compute was last heard of."""
        listed = self.request("GET", f"/os-services?host={host}&binary={nova.COMPUTE}")["services"]
        return str(listed[0]["updated_at"])

    # --- a server ---------------------------------------------------------------------------------------------------

    def boot(
        self, name: str = "lm001", host: str = SOURCE, config_drive: bool = False, networks: list[dict[str, str]] | None = None
    ) -> Server:
        """`networks`: as the API takes them; none if not given."""
        image = self.lab.run(
            "controller", ["openstack", "image", "show", "-f", "value", "-c", "id", seed.IMAGE], administrator=True
        ).stdout.strip()
        flavor = next(one["id"] for one in self.request("GET", "/flavors")["flavors"] if one["name"] == "m1.tiny")
        wanted = {
            "name": name,
            "imageRef": image,
            "flavorRef": flavor,
            "networks": networks or "none",
            "availability_zone": f"nova:{host}",
            "config_drive": config_drive,
        }
        made = self.request("POST", "/servers", {"server": wanted})["server"]["id"]
        self.wait_for(made, "ACTIVE")
        shown = self.request("GET", f"/servers/{made}")["server"]
        server = Server(made, name, shown["OS-EXT-SRV-ATTR:instance_name"])
        self._servers.append(server)
        wait_until(lambda: self.records(server, host).last > 0, PATIENCE_S, "the guest writes records", interval_s=1)
        return server

    def make_port(self, number: int) -> dict[str, Any]:
        """Of Neutron's network; `number` is the last part of its address."""
        token = seed.token_of(self.lab.layout)
        return neutron.make_port(self.lab.layout, token, number, port_security_enabled=False)

    def delete_ports(self) -> None:
        """All that there are: those that were given to a server stay when it is deleted."""
        token = seed.token_of(self.lab.layout)
        for port in neutron.ask(self.lab.layout, token, "GET", "/ports")["ports"]:
            neutron.ask(self.lab.layout, token, "DELETE", f"/ports/{port['id']}")

    def guest(self, server: Server) -> Guest:
        """The agent in the guest of a server that has a network."""
        (addresses,) = self.show(server)["addresses"].values()
        return Guest(addresses[0]["addr"], self.lab.inside_network)

    def wait_for(self, server_id: str, status: str) -> None:
        def reached() -> bool:
            shown = self.request("GET", f"/servers/{server_id}")["server"]
            if shown["status"] == "ERROR" and status != "ERROR":
                raise LabError(f"server is in error: {shown.get('fault', {}).get('message', 'no reason given')}")
            return bool(shown["status"] == status and shown[scenario.TASK] is None)

        wait_until(lambda: self._answered(reached), PATIENCE_S, f"server is {status}", interval_s=0.5)

    @staticmethod
    def _answered(question: Any) -> bool:
        """What it says, or False while the API is away."""
        try:
            return bool(question())
        except (OSError, http.client.HTTPException):
            return False
        except LabError as error:
            if "in error" in str(error):
                raise
            return False

    def records(self, server: Server, host: str) -> Any:
        """Judge what the guest has written to its disk (`labkit.guest.Verdict`)."""
        return verify_records(f"{server.folder}/disk", lambda argv: self.lab.command(host, argv))

    def settled_records(self, server: Server, host: str) -> Any:
        """The same, with everything on disk: QEMU brings it there when the guest is stopped."""
        runs = self.domain(server, host) == "running"
        if runs:
            self.lab.run(host, ["virsh", "suspend", server.domain])
        try:
            return self.records(server, host)
        finally:
            if runs:
                self.lab.run(host, ["virsh", "resume", server.domain])

    # --- a migration ------------------------------------------------------------------------------------------------

    def migrate(self, server: Server, destination: str = DESTINATION, block: bool | str = True) -> None:
        """`block`: whether local disks are copied; "auto" lets Nova find out."""
        self.request("POST", f"/servers/{server.id}/action", {"os-migrateLive": {"host": destination, "block_migration": block}})

    def copy_slowly(self, server: Server) -> dict[str, Any]:
        """Migrate, and return in mid-copy; the migration."""
        self.lab.limit_rate(SOURCE, SLOW_MBIT_S)
        self.migrate(server)
        wait_until(lambda: self.is_copying(server), PATIENCE_S, "libvirt copies", interval_s=0.3)
        return self.migration(server)

    def is_copying(self, server: Server) -> bool:
        asked = self.lab.run(SOURCE, ["virsh", "domjobinfo", server.domain], check=False).stdout
        lines = dict(line.split(":", 1) for line in asked.splitlines() if ":" in line)
        return "Unbounded" in lines.get("Job type", "") and not lines.get("Data processed", "0").strip().startswith("0.000")

    def hurry(self) -> None:
        self.lab.limit_rate(SOURCE, None)

    def abort(self, server: Server, migration: dict[str, Any]) -> None:
        self.request("DELETE", f"/servers/{server.id}/migrations/{migration['id']}")

    def wait_for_migration(self, server: Server, status: str) -> dict[str, Any]:
        """The newest migration, as soon as it has that status."""

        def reached() -> bool:
            with contextlib.suppress(LabError):  # a request that was accepted has no migration yet
                return bool(self.migration(server)["status"] == status)
            return False

        wait_until(lambda: self._answered(reached), PATIENCE_S, f"migration is {status}", interval_s=0.1)
        return self.migration(server)

    # --- hosts ------------------------------------------------------------------------------------------------------

    def domain(self, server: Server, host: str) -> str:
        """libvirt's word for the state of the guest on a host; empty when it does not know it."""
        asked = self.lab.run(host, ["virsh", "domstate", server.domain], check=False)
        return asked.stdout.strip() if asked.returncode == 0 else ""

    def leftovers(self, server_id: str, host: str) -> list[str]:
        """What a host has of a server."""
        found = [
            f"domain {line}"
            for line in self.lab.run(host, ["virsh", "list", "--all", "--uuid"]).stdout.split()
            if line == server_id
        ]
        found += self.lab.run(host, ["find", f"{INSTANCES}/{server_id}"], check=False).stdout.split()
        state = self.lab.machine(host).folder / STATE
        return found + [f"record {path}" for path in state.rglob("*.jsonl") if server_id in path.read_text()]

    def kill_qemu(self, server: Server, host: str) -> None:
        pid = self.lab.run(host, ["cat", f"/run/libvirt/qemu/{server.domain}.pid"]).stdout.strip()
        self.lab.run(host, ["kill", "-KILL", pid])

    def kill(self, name: str, daemon: str) -> None:
        self.lab.kill(name, daemon, signal.SIGKILL)

    def kill_compute(self, host: str) -> None:
        self.kill(host, nova.COMPUTE)

    @staticmethod
    def pass_time(seconds: float) -> None:
        """How long something is away is what the test is about, not what it waits for."""
        time.sleep(seconds)

    def start_compute(self, host: str) -> None:
        self._heard[host] = self.reported_at(host)
        self.lab.start(host, nova.COMPUTE)

    def wait_until_ready(self, host: str) -> None:
        """Until the compute service that was started last reports."""
        wait_until(
            lambda: self._answered(lambda: self.reported_at(host) > self._heard[host]),
            PATIENCE_S,
            f"{nova.COMPUTE} of {host} reports",
            interval_s=0.5,
        )

    def use_driver(self, host: str, driver: str) -> None:
        """As an operator changes it: the option and a restart. `driver` is one of `nova.DRIVERS`."""
        nova.choose_driver(self.lab.machine(host), driver)
        self.kill_compute(host)
        self.start_compute(host)
        self.wait_until_ready(host)

    # --- points at which our driver is held still -----------------------------------------------------------------------

    def kill_compute_at(self, host: str, point: str, begin: Callable[[], Any]) -> None:
        """Kill a host's nova-compute at a point of `nova_blockmigrate.breakpoints` that it reaches after `begin`."""
        folder = nova.breakpoints_of(self.lab.machine(host))
        armed, reached = folder / f"{point}.armed", folder / f"{point}.reached"
        armed.touch()
        try:
            begin()
            wait_until(reached.exists, PATIENCE_S, f"nova-compute of {host} has come to {point}", interval_s=0.01)
            self.kill_compute(host)
        finally:
            armed.unlink(missing_ok=True)
            reached.unlink(missing_ok=True)

    # --- the end ----------------------------------------------------------------------------------------------------

    def delete_all(self) -> None:
        for server in self.request("GET", "/servers?all_tenants=1")["servers"]:
            self.request("DELETE", f"/servers/{server['id']}")
        wait_until(
            lambda: not self.request("GET", "/servers?all_tenants=1")["servers"], PATIENCE_S, "servers are deleted", interval_s=1
        )

    def mend(self) -> None:
        """Everything that a test may have broken runs again."""
        self.hurry()
        self.lab.rejoin(SOURCE)
        for host in HOSTS:
            self.lab.heal(host)
            self._start_if_away(host, nova.COMPUTE)
        for daemon in (rabbitmq.DAEMON, postgres.DAEMON, nova.CONDUCTOR):
            self._start_if_away("controller", daemon)
        wait_until(lambda: self._answered(lambda: self.request("GET", "/flavors")), PATIENCE_S, "the API answers", interval_s=1)

    def _start_if_away(self, name: str, daemon: str) -> None:
        if not machine.daemon_runs(self.lab.layout, self.lab.machine(name), daemon):
            self.lab.start(name, daemon)
