"""The main job, as an administrator does it: boot a server on a host, watch it, move it, look at what is left.

Everything goes through the unmodified `nova` command and the REST API; what is left on hosts is read from the hosts.
"""

import http.client
import json
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from labkit import api, fabric, seed
from labkit.commands import wait_until
from labkit.errors import LabError
from labkit.guest import Guest
from labkit.lab import Lab
from labkit.layout import API_PORT, INSTANCES

FINAL_STATUSES = frozenset({"completed", "failed", "cancelled", "error"})
HOST = "OS-EXT-SRV-ATTR:host"
TASK = "OS-EXT-STS:task_state"


class NotFound(LabError):
    """The API does not know it."""


class Client:
    """One kept connection to the API, for what must be asked often or timed."""

    def __init__(self, lab: Lab) -> None:
        self._controller = lab.layout.controller
        self._connect()
        self._headers = {
            "X-Auth-Token": seed.token_of(lab.layout),
            "OpenStack-API-Version": "compute 2.96",
            "Content-Type": "application/json",
        }

    def _connect(self) -> None:
        address = self._controller.management_ip
        self._http = http.client.HTTPConnection(address, API_PORT, timeout=30)
        self._http.sock = fabric.connect(self._controller.namespace, address, API_PORT, 30)

    def request(self, method: str, path: str, body: Any = None) -> Any:
        """The answer's JSON, or None when it has none; LabError when it is an error."""
        try:
            answer = self._send(method, path, body)
        except (http.client.RemoteDisconnected, ConnectionError):  # the API closes connections on which nothing is said for long
            self._connect()
            answer = self._send(method, path, body)
        content = answer.read()
        if answer.status >= 400:
            kind = NotFound if answer.status == http.HTTPStatus.NOT_FOUND else LabError
            raise kind(f"{method} {path}: {answer.status} {content[:500].decode(errors='replace')}")
        return json.loads(content) if content else None

    def _send(self, method: str, path: str, body: Any) -> http.client.HTTPResponse:
        self._http.request(method, f"/v2.1{path}", json.dumps(body) if body is not None else None, self._headers)
        return self._http.getresponse()

    def server(self, server_id: str) -> dict[str, Any]:
        server: dict[str, Any] = self.request("GET", f"/servers/{server_id}")["server"]
        return server

    def newest_migration(self, server_id: str) -> dict[str, Any]:
        found = self.request("GET", f"/os-migrations?instance_uuid={server_id}&limit=1")["migrations"]
        if not found:
            raise LabError(f"server {server_id} has no migration")
        migration: dict[str, Any] = found[0]
        return migration

    def running_migrations(self, server_id: str) -> list[dict[str, Any]]:
        """Those under way, with their byte counters."""
        found: list[dict[str, Any]] = self.request("GET", f"/servers/{server_id}/migrations")["migrations"]
        return found


@dataclass(frozen=True)
class Server:
    """A server of the laboratory and the agent in its guest."""

    id: str
    name: str
    domain: str
    mac: str
    guest: Guest

    @property
    def folder(self) -> str:
        """Where its files lie on its host."""
        return f"{INSTANCES}/{self.id}"

    @property
    def disk(self) -> str:
        return f"{self.folder}/disk"


def _network_id(lab: Lab, name: str) -> str:
    """The laboratory's own network is asked for once: that one stays, and the command takes seconds on a slow machine."""
    if name == seed.NETWORK and lab.own_network:
        return lab.own_network
    known = {one["name"]: one["id"] for one in json.loads(seed.manage(lab.layout, "network", "list", "--json"))}
    lab.own_network = known.get(seed.NETWORK, "")
    return str(known[name])


def boot(
    lab: Lab,
    client: Client,
    name: str,
    host: str,
    flavor: str = "m1.tiny",
    networks: Sequence[str] = (seed.NETWORK,),
    image: str = seed.IMAGE,
) -> Server:
    """`nova boot` on a host, with a port on each of the networks named, and wait until its guest answers on the first."""
    nics = [word for network in networks for word in ("--nic", f"net-id={_network_id(lab, network)}")]
    where = [*nics, "--availability-zone", f"nova:{host}"]
    lab.nova("boot", "--flavor", flavor, "--image", image, *where, name)
    server_id = api.server_id(lab.layout, seed.token_of(lab.layout), name)
    wait_for_status(client, server_id, "ACTIVE", 120)
    return find(lab, client, server_id)


def boot_from_volume(lab: Lab, client: Client, name: str, host: str, volume: str) -> Server:
    """`nova boot --boot-volume` on a host, and wait until the guest answers."""
    where = ["--nic", f"net-id={_network_id(lab, seed.NETWORK)}", "--availability-zone", f"nova:{host}"]
    lab.nova("boot", "--flavor", "m1.tiny", "--boot-volume", volume, *where, name)
    server_id = api.server_id(lab.layout, seed.token_of(lab.layout), name)
    wait_for_status(client, server_id, "ACTIVE", 120)
    return find(lab, client, server_id)


def find(lab: Lab, client: Client, server_id: str) -> Server:
    """A server that is there already; waits until its guest answers."""
    shown = client.server(server_id)
    address = next(iter(shown["addresses"].values()))[0]
    server = Server(
        server_id,
        shown["name"],
        shown["OS-EXT-SRV-ATTR:instance_name"],
        address["OS-EXT-IPS-MAC:mac_addr"],
        Guest(address["addr"], lab.inside_network),
    )
    server.guest.wait(90)
    return server


def attach_volume(lab: Lab, client: Client, server: Server, volume: str) -> None:
    """Attach a volume with the real command, and have the guest write its records there, too."""
    lab.nova("volume-attach", server.name, volume)
    wait_for_status(client, server.id, "ACTIVE", 60)
    server.guest.write_to_volume()


def delete_all(lab: Lab, client: Client) -> None:
    """Delete every server, and wait until they are gone."""
    for server in client.request("GET", "/servers?all_tenants=1")["servers"]:
        try:
            client.request("DELETE", f"/servers/{server['id']}")
        except NotFound:
            continue  # it was being deleted when it was listed
    wait_until(lambda: not client.request("GET", "/servers?all_tenants=1")["servers"], 60, "servers are deleted")


def wait_for_status(client: Client, server_id: str, status: str, timeout_s: float) -> None:
    """Until the server has this status and nothing is being done to it; LabError as soon as it is in error."""

    def reached() -> bool:
        shown = client.server(server_id)
        if shown["status"] == "ERROR" and status != "ERROR":
            raise LabError(f"server {shown['name']} is in error: {shown.get('fault', {}).get('message', 'no reason given')}")
        return bool(shown["status"] == status and shown[TASK] is None)

    wait_until(reached, timeout_s, f"server is {status}")


def wait_for_end(
    client: Client, server_id: str, timeout_s: float, on_progress: Callable[[dict[str, Any]], None] = lambda migration: None
) -> dict[str, Any]:
    """The server's newest migration once it is over; `on_progress` sees it as often as it changes."""
    deadline = time.monotonic() + timeout_s
    seen: dict[str, Any] = {}
    while True:
        migration = client.newest_migration(server_id)
        if migration["status"] in FINAL_STATUSES:
            return migration
        for running in client.running_migrations(server_id):
            if running != seen:
                on_progress(running)
                seen = running
        if time.monotonic() > deadline:
            raise LabError(f"migration {migration['id']} is still {migration['status']} after {timeout_s:.0f} s")
        time.sleep(0.1)


def reasons(client: Client, server_id: str) -> list[str]:
    """What the server's newest action says went wrong."""
    actions = client.request("GET", f"/servers/{server_id}/os-instance-actions")["instanceActions"]
    if not actions:
        return []
    newest = client.request("GET", f"/servers/{server_id}/os-instance-actions/{actions[0]['request_id']}")["instanceAction"]
    return [text for text in [newest["message"], *(event.get("details") for event in newest["events"])] if text]


def leftovers(lab: Lab, host: str, server: Server) -> list[str]:
    """What a host still has of a server: in libvirt, among its taps, in its firewall, on its disk, in its ledgers (also of any
    migration)."""
    found = []
    if server.domain in lab.run(host, ["virsh", "list", "--all", "--name"]).stdout.split():
        found.append(f"domain {server.domain}")
    links = json.loads(lab.run(host, ["ip", "-j", "link"]).stdout)
    tail = server.mac.lower().replace(":", "")[-10:]
    found += [
        f"tap {link['ifname']}"
        for link in links
        if link["ifname"].startswith(("tap", "vnet")) and link.get("address", "").replace(":", "")[-10:] == tail
    ]
    rules = lab.run(host, ["nft", "list", "ruleset"], check=False).stdout
    found += [f"firewall rules for {server.mac}"] if server.mac.lower() in rules else []
    found += strays(rules, lab.run(host, ["cat", f"/var/lib/nova-blockmigrate/network/{host}.json"], check=False).stdout)
    files = lab.run(host, ["find", server.folder], check=False).stdout.split()
    found += [f"file {path}" for path in files]
    ledgers = lab.run(host, ["find", "/var/lib/nova-blockmigrate/ledger", "-name", "*.jsonl"], check=False).stdout.split()
    return found + [f"ledger {path}" for path in ledgers if "/servers/" not in path or server.id in path]


def strays(rules: str, book: str) -> list[str]:
    """What nft's listing has of taps and bridges that are not in a host's book of networks (pure)."""
    noted = json.loads(book)["bridges"] if book else {}
    taps = {tap for entry in noted.values() for tap in entry["taps"]}
    guarded = re.findall(r'"([^"]+)" : jump from_', rules)
    # (an element of a map of zones is a bridge and a number)
    zones = [name for name, _ in re.findall(r'"([^"]+)" : (\d+|0x[0-9a-f]+)\b', rules)]
    return [f"rules of {tap}" for tap in guarded if tap not in taps] + [
        f"zone of {bridge}" for bridge in zones if not noted.get(bridge, {}).get("taps")
    ]
