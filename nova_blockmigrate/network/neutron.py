"""Neutron as the owner of networks and ports, through openstacksdk.

A guest on the move has two bindings of each port: the source's, ACTIVE, and the destination's, made INACTIVE before the
transfer and activated at the switch, which makes Neutron unbind the source's. All that needs Neutron's extension
"binding-extended", and for a service user the role `service`.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

from keystoneauth1 import exceptions as keystone_exceptions
from keystoneauth1 import loading
from oslo_config import cfg
from oslo_log import log

from nova_blockmigrate import exceptions
from nova_blockmigrate.conf.neutron import GROUP
from nova_blockmigrate.network.backend import BoundVif, NetworkBackend, Owner
from nova_blockmigrate.network.neutron_groups import Groups
from nova_blockmigrate.network.neutron_vif import Guard, addresses_of, awaited, host_filters, rules_of, vif_of
from nova_blockmigrate.objects import FixedIp, NamedGroup, NetworkPort, Vif, WantedPort

LOG = log.getLogger(__name__)

ACTIVE, INACTIVE = "ACTIVE", "INACTIVE"
DEVICE_OWNER = "compute:"
_NOT_FOUND, _CONFLICT = 404, 409
_EVERYBODY = "*"
_USUAL_MTU = 1500
_BINDING_FAILED = ("binding_failed", "unbound")

Body = dict[str, Any]


class Neutron(NetworkBackend):
    # --- a server's ports -------------------------------------------------------------------------------------------

    def allocate(self, owner: Owner, wanted: Sequence[WantedPort]) -> tuple[NetworkPort, ...]:
        given = {one.port_id for one in wanted if one.port_id}
        made = [port for port in self._ports_of(owner.server_uuid) if port["id"] not in given]  # by a try that was interrupted
        try:
            found = [self._take(owner, one) if one.port_id else self._make(owner, one, made) for one in wanted]
            return self._described(found, given)
        except exceptions.BlockMigrateError:
            self._release_quietly(owner.server_uuid, sorted(given))
            raise

    def networks_of(self, project_id: str) -> list[str]:
        action = f"list the networks of project {project_id}"
        found: list[Body] = self._ask("get", "/networks", action, params={"project_id": project_id})["networks"]
        if shared := self._shared_with(project_id, {}):
            found += self._ask("get", "/networks", action, params={"id": sorted(shared)})["networks"]
        return list(dict.fromkeys(one["id"] for one in found if not one.get("router:external")))

    def describe(self, server_uuid: str, known: Sequence[NetworkPort]) -> tuple[NetworkPort, ...]:
        order = [port.vif.port_id for port in known]
        ports = sorted(self._ports_of(server_uuid), key=lambda port: order.index(port["id"]) if port["id"] in order else len(order))
        given = {port.vif.port_id for port in known if port.given}
        return self._described(ports, given, {port.vif.port_id: port.vif for port in known})

    def release(self, server_uuid: str, given: Sequence[str]) -> None:
        for port in self._ports_of(server_uuid):
            path, action = f"/ports/{port['id']}", f"release port {port['id']}"
            if port["id"] in given:
                freed = {"device_id": "", "device_owner": "", "binding:host_id": ""}
                self._ask("put", path, action, {"port": freed}, accepted=(_NOT_FOUND,))
            else:
                self._ask("delete", path, action, accepted=(_NOT_FOUND,))

    # --- security groups --------------------------------------------------------------------------------------------

    def groups_of_project(self, project_id: str) -> list[NamedGroup]:
        return self._groups.of_project(project_id)

    def groups_of_server(self, server_uuid: str) -> list[str]:
        return list(dict.fromkeys(group for port in self._ports_of(server_uuid) for group in port["security_groups"]))

    def find_groups(self, project_id: str, names: Sequence[str]) -> list[str]:
        return self._groups.find(project_id, names)

    def join_group(self, server_uuid: str, group_id: str) -> bool:
        return self._groups.add(self._ports_of(server_uuid), group_id)

    def leave_group(self, server_uuid: str, group_id: str) -> bool:
        return self._groups.remove(self._ports_of(server_uuid), group_id)

    # --- a server's place -------------------------------------------------------------------------------------------

    def bind(self, vif: Vif, host: str) -> BoundVif:
        port = self._ask("get", f"/ports/{vif.port_id}", f"show port {vif.port_id}")["port"]
        body = {"binding": {"host": host, "vnic_type": port["binding:vnic_type"]}}
        action = f"bind port {vif.port_id} to {host}"
        path = f"/ports/{vif.port_id}/bindings"
        answer = self._ask("post", path, action, body, accepted=(_CONFLICT,))
        binding = answer.get("binding") or self._binding(vif.port_id, host)
        if binding is None or binding["vif_type"] in _BINDING_FAILED:
            raise exceptions.NetworkServiceError(action=action, reason=_why_unbound(host))
        bound = self._vif(port, binding["vif_type"], binding["vif_details"], vif.mtu)
        return BoundVif(bound, awaited(binding["vif_type"], binding["vif_details"], self._options.plugged_when_bound))

    def activate(self, port_id: str, host: str) -> None:
        """A conflict says that it is active already."""
        path = f"/ports/{port_id}/bindings/{host}/activate"
        self._ask("put", path, f"activate the binding of port {port_id} on {host}", accepted=(_CONFLICT,))

    def unbind(self, port_id: str, host: str) -> None:
        binding = self._binding(port_id, host)
        if binding is None:
            return
        if binding["status"] == ACTIVE:
            LOG.warning("Port %s keeps its binding to %s, as it is the active one", port_id, host)
            return
        action = f"delete the binding of port {port_id} to {host}"
        self._ask("delete", f"/ports/{port_id}/bindings/{host}", action, accepted=(_NOT_FOUND,))

    # --- inside -----------------------------------------------------------------------------------------------------

    def _take(self, owner: Owner, wanted: WantedPort) -> Body:
        """Give a port of the user's to the server."""
        path, action = f"/ports/{wanted.port_id}", f"use port {wanted.port_id}"
        answer = self._ask("get", path, action, accepted=(_NOT_FOUND,))
        port = answer.get("port")
        if port is None or port["project_id"] != owner.project_id:
            raise exceptions.PortNotUsable(port_id=wanted.port_id, reason="the project has no such port")
        if port["device_id"] not in ("", owner.server_uuid):
            raise exceptions.PortNotUsable(port_id=wanted.port_id, reason=f"{port['device_id']} uses it")
        return self._bound(self._ask("put", path, action, {"port": _place(owner)})["port"], owner.host)

    def _make(self, owner: Owner, wanted: WantedPort, made: list[Body]) -> Body:
        for port in made:
            if port["network_id"] == wanted.network_id:
                made.remove(port)
                return self._bound(port, owner.host)
        self._require_visible(wanted.network_id, owner.project_id)
        body = {"network_id": wanted.network_id, "project_id": owner.project_id, "admin_state_up": True} | _place(owner)
        if owner.security_groups:
            body["security_groups"] = list(owner.security_groups)
        if wanted.fixed_ip:
            body["fixed_ips"] = [{"ip_address": wanted.fixed_ip}]
        port = self._ask("post", "/ports", f"make a port on network {wanted.network_id}", {"port": body})["port"]
        return self._bound(port, owner.host)

    def _require_visible(self, network_id: str, project_id: str) -> None:
        """Neutron would let this service make ports anywhere, whoever they are for: whose network it is, is asked here.

        Not by the network's `shared`, which says what is shared with who asks.

        :raises NetworkNotFound: there is none that the project owns, or that is shared with it.
        """
        action = f"show network {network_id}"
        network = self._ask("get", f"/networks/{network_id}", action, accepted=(_NOT_FOUND,)).get("network")
        if network is not None and network["project_id"] == project_id:
            return
        if network is None or not self._shared_with(project_id, {"object_id": network_id}):
            raise exceptions.NetworkNotFound(network_id=network_id)

    def _shared_with(self, project_id: str, query: Body) -> set[str]:
        """Ids of the networks, among those that the query is about, that others share with a project."""
        query = {"object_type": "network", "action": "access_as_shared"} | query
        answer = self._ask("get", "/rbac-policies", f"list what is shared with project {project_id}", params=query)
        return {one["object_id"] for one in answer["rbac_policies"] if one["target_tenant"] in (_EVERYBODY, project_id)}

    def _bound(self, port: Body, host: str) -> Body:
        if port["binding:vif_type"] in _BINDING_FAILED:
            raise exceptions.NetworkServiceError(action=f"bind port {port['id']} to {host}", reason=_why_unbound(host))
        return port

    def _described(self, ports: Sequence[Body], given: set[str], known: Mapping[str, Vif] | None = None) -> tuple[NetworkPort, ...]:
        """`known`: interfaces to show of ports that are bound nowhere just now, as in the moment of a switch."""
        networks = {id: self._network_body(id) for id in dict.fromkeys(port["network_id"] for port in ports)}
        names = self._groups.names_of({group for port in ports for group in port["security_groups"]})
        return tuple(
            NetworkPort(
                network_id=port["network_id"],
                network_name=networks[port["network_id"]]["name"],
                fixed_ips=tuple(FixedIp(one["ip_address"], one["subnet_id"]) for one in port["fixed_ips"]),
                status=port["status"],
                vif=known[port["id"]]
                if known and port["id"] in known and port["binding:vif_type"] in _BINDING_FAILED
                else self._vif(
                    port,
                    port["binding:vif_type"],
                    port["binding:vif_details"],
                    networks[port["network_id"]].get("mtu") or _USUAL_MTU,
                ),
                given=port["id"] in given,
                security_groups=tuple(names[group] for group in port["security_groups"] if group in names),
            )
            for port in ports
        )

    def _vif(self, port: Body, vif_type: str, details: Body, mtu: int) -> Vif:
        guard = self._guard(port) if host_filters(port, details) else None
        return vif_of(port, vif_type, details, mtu, self._options.ovs_bridge, guard)

    def _guard(self, port: Body) -> Guard:
        """The rules of the port's security groups, and whom those that name a group are about."""
        groups = port["security_groups"]
        if not groups:
            return Guard()
        query = {"security_group_id": groups}
        answer = self._ask("get", "/security-group-rules", f"list the rules of port {port['id']}", params=query)
        bodies = answer["security_group_rules"]
        named = sorted({one.get("remote_address_group_id") for one in bodies} - {None})
        addresses = {group: self._addresses_in(group) for group in named}
        rules = tuple(dict.fromkeys(rule for one in bodies for rule in rules_of(one, addresses)))
        members = {}
        for group in sorted({rule.remote_group for rule in rules} - {""}):
            answer = self._ask("get", "/ports", f"list the members of group {group}", params={"security_groups": [group]})
            members[group] = tuple(address for other in answer["ports"] for address in addresses_of(other))
        return Guard(rules, members)

    def _addresses_in(self, address_group: str) -> list[str]:
        """None, of one that has gone: then the rules that name it are about nobody."""
        action = f"show address group {address_group}"
        answer = self._ask("get", f"/address-groups/{address_group}", action, accepted=(_NOT_FOUND,))
        return list(answer["address_group"]["addresses"]) if answer else []

    def _release_quietly(self, server_uuid: str, given: Sequence[str]) -> None:
        """After a failure, which is what the user is told: what is left is found again when the server is deleted."""
        try:
            self.release(server_uuid, given)
        except exceptions.BlockMigrateError as error:
            LOG.warning("Ports of server %s were left in Neutron: %s", server_uuid, error.message)

    def _ports_of(self, server_uuid: str) -> list[Body]:
        action = f"list the ports of server {server_uuid}"
        ports: list[Body] = self._ask("get", "/ports", action, params={"device_id": server_uuid})["ports"]
        return ports

    def _network_body(self, network_id: str) -> Body:
        body: Body = self._ask("get", f"/networks/{network_id}", f"show network {network_id}")["network"]
        return body

    def _binding(self, port_id: str, host: str) -> Body | None:
        action = f"show the bindings of port {port_id}"
        answer = self._ask("get", f"/ports/{port_id}/bindings", action, params={"host": host}, accepted=(_NOT_FOUND,))
        found: list[Body] = [one for one in answer.get("bindings", []) if one["host"] == host]
        return found[0] if found else None

    # --- HTTP -------------------------------------------------------------------------------------------------------

    @property
    def _options(self) -> Any:
        return self.conf[GROUP]

    @functools.cached_property
    def _groups(self) -> Groups:
        return Groups(self._ask)

    @functools.cached_property
    def _adapter(self) -> Any:
        """openstacksdk's network proxy: one session for this service, logged in with the [neutron] options."""
        return connect(self.conf).network

    def _ask(
        self,
        method: str,
        path: str,
        action: str,
        body: Body | None = None,
        params: Body | None = None,
        accepted: Sequence[int] = (),
    ) -> Body:
        """The answer's JSON; an empty one for an answer without, and for an `accepted` error.

        :raises NetworkServiceError: Neutron refused.
        :raises NetworkServiceUnavailable: it could not be asked.
        """
        try:
            answer = self._adapter.request(path, method.upper(), json=body, params=params, raise_exc=False)
        except keystone_exceptions.ClientException as error:
            raise exceptions.NetworkServiceUnavailable(action=action, reason=str(error)) from error
        if answer.status_code >= 400:
            if answer.status_code in accepted:
                return {}
            raise exceptions.NetworkServiceError(action=action, reason=f"{answer.status_code} {_reason(answer)}")
        found: Body = answer.json() if answer.content else {}
        return found


def connect(conf: cfg.ConfigOpts) -> Any:
    """A connection of openstacksdk's by the [neutron] options. (It takes time to load: only who uses Neutron does.)"""
    from openstack import connection

    session = loading.load_session_from_conf_options(conf, GROUP, auth=loading.load_auth_from_conf_options(conf, GROUP))
    return connection.Connection(session=session, oslo_conf=conf, service_types=["network"])


def _place(owner: Owner) -> Body:
    return {
        "device_id": owner.server_uuid,
        "device_owner": f"{DEVICE_OWNER}{owner.availability_zone}",
        "binding:host_id": owner.host,
    }


def _why_unbound(host: str) -> str:
    return f"no mechanism driver binds it there. Check that Neutron has a living agent of a host that calls itself {host}"


def _reason(answer: Any) -> str:
    """Neutron's own words."""
    try:
        return str(answer.json()["NeutronError"]["message"])
    except (ValueError, KeyError, TypeError):
        return str(answer.text)[:300]
