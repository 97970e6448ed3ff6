"""Security groups that Neutron owns: what a project has, and which ports are in them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

from nova_blockmigrate import exceptions
from nova_blockmigrate.network.neutron_vif import rules_of
from nova_blockmigrate.objects import GroupRule, NamedGroup

Body = dict[str, Any]
Ask = Callable[..., Body]
"""`Neutron._ask`."""


class Groups:
    def __init__(self, ask: Ask) -> None:
        self._ask = ask

    def of_project(self, project_id: str) -> list[NamedGroup]:
        answer = self._ask("get", "/security-groups", "list security groups", params={"project_id": project_id})
        return [_named(body) for body in answer["security_groups"]]

    def names_of(self, group_ids: Collection[str]) -> dict[str, str]:
        """Names by id."""
        if not group_ids:
            return {}
        answer = self._ask("get", "/security-groups", "list security groups", params={"id": sorted(group_ids)})
        return {body["id"]: body["name"] for body in answer["security_groups"]}

    def find(self, project_id: str, names: Iterable[str]) -> list[str]:
        """Ids of a project's groups by their names or ids, each once.

        :raises SecurityGroupNotFound, Conflict: there is none, or several have that name.
        """
        there = self.of_project(project_id)
        return list(dict.fromkeys(_find(there, project_id, name) for name in names))

    def add(self, ports: Sequence[Body], group_id: str) -> bool:
        """Put ports into a group; whether there is one that can be in any."""
        guarded = [port for port in ports if port.get("port_security_enabled", True) and port["fixed_ips"]]
        for port in guarded:
            if group_id not in port["security_groups"]:
                self._put(port, [*port["security_groups"], group_id])
        return bool(guarded)

    def remove(self, ports: Sequence[Body], group_id: str) -> bool:
        """Take ports out of a group; whether one was in it."""
        inside = [port for port in ports if group_id in port["security_groups"]]
        for port in inside:
            self._put(port, [one for one in port["security_groups"] if one != group_id])
        return bool(inside)

    def _put(self, port: Body, group_ids: list[str]) -> None:
        action = f"change the security groups of port {port['id']}"
        self._ask("put", f"/ports/{port['id']}", action, {"port": {"security_groups": group_ids}})


def _find(there: Sequence[NamedGroup], project_id: str, name: str) -> str:
    found = [group.id for group in there if group.id == name] or [group.id for group in there if group.name == name]
    if not found:
        raise exceptions.SecurityGroupNotFound(security_group_id=name, project_id=project_id)
    if len(found) > 1:
        raise exceptions.Conflict(f"Multiple security groups found matching '{name}'. Use an ID to be more specific.")
    return found[0]


def _named(body: Body) -> NamedGroup:
    rules = [
        GroupRule(one["id"], rule)
        for one in body.get("security_group_rules", ())
        for rule in rules_of({**one, "remote_address_group_id": None}, {})
    ]
    return NamedGroup(body["id"], body["name"], body.get("description") or "", body["project_id"], tuple(rules))
