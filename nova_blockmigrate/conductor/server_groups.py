"""Server groups when a host is chosen: what a group says of each host (pure), and the group as the database has it.

A server counts where it is, and where it is on its way to: of two migrations that are still being checked the older one counts.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Mapping

import sqlalchemy as sa
from sqlalchemy import orm

from nova_blockmigrate.db import models
from nova_blockmigrate.db.project_models import ServerGroup
from nova_blockmigrate.db.queries import migrations, server_groups
from nova_blockmigrate.objects import GroupPolicy


@dataclasses.dataclass(frozen=True)
class Group:
    """A server's group, without that server."""

    name: str
    policy: GroupPolicy
    servers: Mapping[str, int]
    """How many of the others each host has, or will have."""
    most: int = 1
    """Servers on one host, of anti-affinity."""

    def refusal(self, host: str) -> str:
        """Why the server must not be on the host; empty when it may."""
        there = self.servers.get(host, 0)
        if self.policy is GroupPolicy.ANTI_AFFINITY and there >= self.most:
            return f"{there} of server group {self.name} (anti-affinity, at most {self.most} on a host) are there"
        if self.policy is GroupPolicy.AFFINITY and self.servers and not there:
            return f"server group {self.name} (affinity) is on {', '.join(sorted(self.servers))}"
        return ""

    def distance(self, host: str) -> int:
        """The smaller, the more its group wants the server on that host."""
        there = self.servers.get(host, 0)
        if self.policy in (GroupPolicy.AFFINITY, GroupPolicy.SOFT_AFFINITY):
            return -there
        return there


def of(db: orm.Session, server: models.Instance, migration_uuid: str = "", lock: bool = False) -> Group | None:
    """The group of a server that looks for a host; None if it is in none.

    `migration_uuid`: of the migration that asks. `lock`: nobody else of the group gets a host before this transaction ends.
    """
    if server.server_group_id is None:
        return None
    statement = sa.select(ServerGroup).where(ServerGroup.id == server.server_group_id)
    group = db.scalar(statement.with_for_update() if lock else statement)
    if group is None:
        return None
    others = [one for one in server_groups.members(db, [group.id])[group.id] if one.uuid != server.uuid]
    unfinished = migrations.unfinished(db)
    own_id = next((one.id for one in unfinished if one.uuid == migration_uuid), None)
    places: collections.Counter[str] = collections.Counter()
    for one in others:
        arriving = [_destination(each, own_id) for each in unfinished if each.instance_uuid == one.uuid]
        places.update({host for host in (one.host, *arriving) if host})
    return Group(group.name, GroupPolicy(group.policy), dict(places), int(group.rules.get("max_server_per_host", 1)))


def _destination(migration: models.Migration, own_id: int | None) -> str | None:
    counts = own_id is None or migration.id < own_id
    return migration.dest_compute or (migration.requested_host if counts else None)
