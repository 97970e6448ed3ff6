"""What is real after a case: what Nova and placement say, what libvirt and the disks of both hosts have. Judged in `judge.py`."""

from __future__ import annotations

from dataclasses import dataclass

from labkit import scenario
from labkit.errors import LabError
from labkit.guest import Verdict
from novakit.cloud import HOSTS, Cloud, Server


@dataclass(frozen=True)
class World:
    """At one moment. What is told of a host is told by the host's name."""

    status: str
    task: str | None
    host: str
    """Where the server is, as Nova says."""
    migration: str
    reasons: str
    """What the user is told of why it did not move."""
    domains: dict[str, str]
    """libvirt's word for the guest's state; empty: it does not know it."""
    disks: dict[str, bool]
    leftovers: dict[str, tuple[str, ...]]
    allocated: frozenset[str]
    """Hosts on which placement has something for the server."""
    migration_holds: frozenset[str]
    """The same for the migration."""
    records: Verdict | None = None
    """What the guest has written on the disk where the server is; None: it was not looked at, as the guest stands for that."""


def look(cloud: Cloud, server: Server, migration_uuid: str, with_records: bool = False) -> World:
    """
    :raises OSError, LabError, http.client.HTTPException: somebody who must be asked does not answer.
    """
    shown = cloud.show(server)
    hosts = {cloud.provider(host): host for host in HOSTS}
    home, disks = shown[scenario.HOST], {host: _has_disk(cloud, server, host) for host in HOSTS}
    return World(
        status=shown["status"],
        task=shown[scenario.TASK],
        host=home,
        migration=_migration(cloud, server, migration_uuid),
        reasons=cloud.reasons(server),
        domains={host: cloud.domain(server, host) for host in HOSTS},
        disks=disks,
        leftovers={host: tuple(cloud.leftovers(server.id, host)) for host in HOSTS},
        allocated=frozenset(hosts.get(one, one) for one in cloud.allocations(server.id)),
        migration_holds=frozenset(hosts.get(one, one) for one in cloud.allocations(migration_uuid)),
        records=cloud.settled_records(server, home) if with_records and disks[home] else None,
    )


def _migration(cloud: Cloud, server: Server, uuid: str) -> str:
    listed = cloud.request("GET", f"/os-migrations?instance_uuid={server.id}")["migrations"]
    found = [str(one["status"]) for one in listed if one["uuid"] == uuid]
    if not found:
        raise LabError(f"migration {uuid} is not listed")
    return found[0]


def _has_disk(cloud: Cloud, server: Server, host: str) -> bool:
    return cloud.lab.run(host, ["test", "-f", f"{server.folder}/disk"], check=False).returncode == 0
