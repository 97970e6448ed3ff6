"""What a project may have: set limits before defaults, and the refusal when it is too much."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from oslo_config import cfg
from sqlalchemy import orm

from nova_blockmigrate import exceptions
from nova_blockmigrate.api.request import Request
from nova_blockmigrate.db.queries import quotas, server_groups, server_lists

UNLIMITED = -1
RESOURCES = ("instances", "cores", "ram", "metadata_items", "key_pairs", "server_groups", "server_group_members")
"""Those that are counted here."""


class QuotaExceeded(exceptions.Forbidden):
    template = "Quota exceeded for {resource}: Requested {asked}, but already used {used} of {limit} {resource}"


@dataclasses.dataclass(frozen=True)
class Limits:
    """A project's limits, by resource."""

    limits: Mapping[str, int]

    def check(self, resource: str, used: int, more: int) -> None:
        """
        :raises QuotaExceeded:
        """
        limit = self.limits[resource]
        if limit != UNLIMITED and used + more > limit:
            raise QuotaExceeded(resource=resource, asked=more, used=used, limit=limit)


def defaults(conf: cfg.ConfigOpts, db: orm.Session) -> dict[str, int]:
    """What holds for projects that have no limits of their own."""
    return {name: conf.quota[name] for name in RESOURCES} | quotas.of_project(db, quotas.DEFAULTS)


def of(request: Request, db: orm.Session, project_id: str) -> Limits:
    return Limits(defaults(request.conf, db) | quotas.of_project(db, project_id))


def used(db: orm.Session, project_id: str) -> dict[str, int]:
    """What the project has; that of users and of single servers is not summed up (0)."""
    servers, vcpus, memory_mib = server_lists.totals(db, project_id)
    counted = {"instances": servers, "cores": vcpus, "ram": memory_mib, "server_groups": server_groups.count(db, project_id)}
    return dict.fromkeys(RESOURCES, 0) | counted


def check_servers(request: Request, db: orm.Session, count: int, vcpus: int, memory_mib: int) -> None:
    """Room for `count` more servers of that size.

    :raises QuotaExceeded:
    """
    project_id = request.context.project_id or ""
    limits = of(request, db, project_id)
    if {limits.limits[name] for name in ("instances", "cores", "ram")} == {UNLIMITED}:
        return
    has = used(db, project_id)
    for resource, more in (("instances", count), ("cores", count * vcpus), ("ram", count * memory_mib)):
        limits.check(resource, has[resource], more)
