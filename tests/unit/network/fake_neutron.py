"""Neutron's answers about ports and bindings, as a real neutron-server 29 gave them, without the server."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Sequence
from typing import Any

NETWORK = "5a7b1e6c-4ad0-4f0e-8f65-0d6a3f8a1c11"
SUBNET = "0f0e5f0a-1c1b-4a52-b8f5-3c5b0f8e2d22"
SERVICE_PROJECT = "service"
"""That of who asks: `shared` says what is shared with it."""
Body = dict[str, Any]


class Answer:
    def __init__(self, status_code: int, body: Body | None = None) -> None:
        self.status_code = status_code
        self.content = json.dumps(body).encode() if body is not None else b""
        self.text = self.content.decode()

    def json(self) -> Any:
        return json.loads(self.content)


def _error(status: int, kind: str, message: str) -> Answer:
    return Answer(status, {"NeutronError": {"type": kind, "message": message, "detail": ""}})


def _asked_for(one: Body, query: Body) -> bool:
    return all(one[name] in value if isinstance(value, list) else one[name] == value for name, value in query.items())


class FakeNeutron:
    """Stands in for openstacksdk's network proxy. `hosts` are those with a living agent, with the bridge of each."""

    def __init__(self) -> None:
        self.hosts = {"compute1": "br-one", "compute2": "br-two"}
        self.networks: list[Body] = []
        self.policies: list[Body] = []
        """For whom networks are, beside their owners (RBAC)."""
        self.add_network(NETWORK, shared_with=["*"])
        self.ports: dict[str, Body] = {}
        self.bindings: dict[str, dict[str, Body]] = {}
        self.rules: list[Body] = []
        self.groups: list[Body] = []
        self.address_groups: dict[str, list[str]] = {}
        self.asked: list[str] = []
        self.error: Exception | None = None
        """Raised at the next request, as when nobody answers."""

    def request(self, path: str, method: str, json: Body | None = None, params: Body | None = None, **_: Any) -> Answer:
        self.asked.append(f"{method} {path}")
        if self.error is not None:
            raise self.error
        for pattern, name in self._ROUTES:
            if found := re.fullmatch(pattern, f"{method} {path}"):
                return getattr(self, name)(*found.groups(), json or {}, params or {})
        raise AssertionError(f"{method} {path}")

    _ROUTES = (
        (r"GET /networks", "_networks"),
        (r"GET /networks/([^/]+)", "_network"),
        (r"GET /rbac-policies", "_list_policies"),
        (r"GET /security-groups", "_list_groups"),
        (r"GET /security-group-rules", "_list_rules"),
        (r"GET /address-groups/([^/]+)", "_address_group"),
        (r"GET /ports", "_list"),
        (r"POST /ports", "_create"),
        (r"GET /ports/([^/]+)", "_show"),
        (r"PUT /ports/([^/]+)", "_update"),
        (r"DELETE /ports/([^/]+)", "_delete"),
        (r"GET /ports/([^/]+)/bindings", "_list_bindings"),
        (r"POST /ports/([^/]+)/bindings", "_bind"),
        (r"PUT /ports/([^/]+)/bindings/([^/]+)/activate", "_activate"),
        (r"DELETE /ports/([^/]+)/bindings/([^/]+)", "_unbind"),
    )

    # --- for tests --------------------------------------------------------------------------------------------------

    def add_network(self, id: str, project_id: str = "infrastructure", shared_with: Sequence[str] = ()) -> None:
        network = {"id": id, "name": "net", "mtu": 1450, "project_id": project_id, "router:external": False}
        self.networks.append(network | {"shared": bool(set(shared_with) & {"*", SERVICE_PROJECT})})
        policy = {"object_type": "network", "object_id": id, "action": "access_as_shared"}
        self.policies += [policy | {"target_tenant": project} for project in shared_with]

    def add_group(self, id: str, name: str, project_id: str = "demo") -> None:
        self.groups.append({"id": id, "name": name, "description": "", "project_id": project_id})

    def add_port(self, **values: Any) -> str:
        return str(self._create({"port": {"network_id": NETWORK, **values}}, {}).json()["port"]["id"])

    def statuses(self, port_id: str) -> dict[str, str]:
        return {host: binding["status"] for host, binding in self.bindings[port_id].items()}

    # --- answers ----------------------------------------------------------------------------------------------------

    def _networks(self, body: Body, query: Body) -> Answer:
        return Answer(200, {"networks": [one for one in self.networks if _asked_for(one, query)]})

    def _network(self, id: str, body: Body, query: Body) -> Answer:
        found = [one for one in self.networks if one["id"] == id]
        return Answer(200, {"network": found[0]}) if found else _error(404, "NetworkNotFound", f"Network {id} could not be found.")

    def _list_policies(self, body: Body, query: Body) -> Answer:
        return Answer(200, {"rbac_policies": [one for one in self.policies if _asked_for(one, query)]})

    def _list_groups(self, body: Body, query: Body) -> Answer:
        rules = {group["id"]: [one for one in self.rules if one["security_group_id"] == group["id"]] for group in self.groups}
        found = [group | {"security_group_rules": rules[group["id"]]} for group in self.groups if _asked_for(group, query)]
        return Answer(200, {"security_groups": found})

    def _list_rules(self, body: Body, query: Body) -> Answer:
        found = [rule for rule in self.rules if rule["security_group_id"] in query["security_group_id"]]
        return Answer(200, {"security_group_rules": found})

    def _address_group(self, id: str, body: Body, query: Body) -> Answer:
        if id not in self.address_groups:
            return _error(404, "AddressGroupNotFound", f"Address group {id} could not be found.")
        return Answer(200, {"address_group": {"id": id, "addresses": self.address_groups[id]}})

    def _list(self, body: Body, query: Body) -> Answer:
        ports = list(self.ports.values())
        if "device_id" in query:
            ports = [port for port in ports if port["device_id"] == query["device_id"]]
        if "security_groups" in query:
            ports = [port for port in ports if set(port["security_groups"]) & set(query["security_groups"])]
        return Answer(200, {"ports": ports})

    def _create(self, body: Body, query: Body) -> Answer:
        values = body["port"]
        if values["network_id"] not in [one["id"] for one in self.networks]:
            return _error(404, "NetworkNotFound", f"Network {values['network_id']} could not be found.")
        number = len(self.ports) + 10
        port = {
            "id": str(uuid.uuid4()), "network_id": NETWORK, "project_id": "demo", "device_id": "", "device_owner": "",
            "mac_address": f"fa:16:3e:00:00:{number:02x}", "status": "DOWN", "security_groups": [], "port_security_enabled": False,
            "fixed_ips": [{"ip_address": f"192.0.2.{number}", "subnet_id": SUBNET}], "allowed_address_pairs": [],
            "binding:vnic_type": "normal", "binding:host_id": "", **values,
        }  # fmt: skip
        self.ports[port["id"]] = port
        self.bindings[port["id"]] = {}
        self._place(port)
        return Answer(201, {"port": port})

    def _show(self, id: str, body: Body, query: Body) -> Answer:
        if id not in self.ports:
            return _error(404, "PortNotFound", f"Port {id} could not be found.")
        return Answer(200, {"port": self.ports[id]})

    def _update(self, id: str, body: Body, query: Body) -> Answer:
        self.ports[id] |= body["port"]
        self._place(self.ports[id])
        return Answer(200, {"port": self.ports[id]})

    def _delete(self, id: str, body: Body, query: Body) -> Answer:
        return Answer(204) if self.ports.pop(id, None) else _error(404, "PortNotFound", f"Port {id} could not be found.")

    def _list_bindings(self, id: str, body: Body, query: Body) -> Answer:
        return Answer(200, {"bindings": [one for one in self.bindings[id].values() if one["host"] == query["host"]]})

    def _bind(self, id: str, body: Body, query: Body) -> Answer:
        host = body["binding"]["host"]
        if host in self.bindings[id]:
            return _error(409, "PortBindingAlreadyExists", f"Binding for port {id} on host {host} already exists.")
        if host not in self.hosts:
            return _error(500, "PortBindingError", f"Binding for port {id} on host {host} could not be created or updated.")
        self.bindings[id][host] = self._binding(host, "INACTIVE")
        return Answer(201, {"binding": self.bindings[id][host]})

    def _activate(self, id: str, host: str, body: Body, query: Body) -> Answer:
        if self.bindings[id][host]["status"] == "ACTIVE":
            return _error(409, "PortBindingAlreadyActive", f"Binding for port {id} on host {host} is already active.")
        for binding in self.bindings[id].values():
            binding |= {"status": "INACTIVE", "vif_type": "unbound", "vif_details": {}}
        self.bindings[id][host] = self._binding(host, "ACTIVE")
        self.ports[id]["binding:host_id"] = host
        self._show_binding(self.ports[id])
        return Answer(200, self.bindings[id][host])

    def _unbind(self, id: str, host: str, body: Body, query: Body) -> Answer:
        if self.bindings[id].pop(host, None) is None:
            return _error(404, "PortBindingNotFound", f"Binding for port {id} for host {host} could not be found.")
        return Answer(204)

    # --- inside -----------------------------------------------------------------------------------------------------

    def _binding(self, host: str, status: str) -> Body:
        details = {"port_filter": False, "bridge_name": self.hosts[host]}
        return {"host": host, "status": status, "vif_type": "bridge", "vif_details": details, "vnic_type": "normal"}

    def _place(self, port: Body) -> None:
        host = port["binding:host_id"]
        self.bindings[port["id"]] = {host: self._binding(host, "ACTIVE")} if host in self.hosts else {}
        self._show_binding(port)

    def _show_binding(self, port: Body) -> None:
        host = port["binding:host_id"]
        binding = self.bindings[port["id"]].get(host)
        failed = "binding_failed" if host else "unbound"
        port["binding:vif_type"] = binding["vif_type"] if binding else failed
        port["binding:vif_details"] = binding["vif_details"] if binding else {}
