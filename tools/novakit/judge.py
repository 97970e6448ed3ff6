"""What is wrong with what was seen, in words for the table. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from novakit.cloud import DESTINATION, SOURCE
from novakit.world import World

COMPLETED, FAILED, CANCELLED = "completed", "failed", "cancelled"
ROLES = {SOURCE: "source", DESTINATION: "destination"}
POWER = {"ACTIVE": "running", "SHUTOFF": "shut off"}


@dataclass(frozen=True)
class Expected:
    """How a case must end."""

    migrations: tuple[str, ...] = (COMPLETED,)
    """Statuses of the migration; it says where the guest is: on the destination when completed."""
    status: str = "ACTIVE"


def is_over(world: World) -> bool:
    """Whether Nova thinks that it is done."""
    return world.task is None and world.migration in (COMPLETED, FAILED, CANCELLED, "error")


def wrong(world: World, expected: Expected, records_before: int) -> list[str]:
    """What is not as it must be, the worst first."""
    guest_on = [host for host in (SOURCE, DESTINATION) if world.domains[host] == "running"]
    found = []
    if len(guest_on) == 2:
        found.append("the guest runs on both hosts")
    if expected.status == "ACTIVE" and not guest_on:
        found.append("the guest does not run")
    if guest_on and world.host not in guest_on:
        found.append(f"the database names the {ROLES[world.host]}, the guest runs on the {ROLES[guest_on[0]]}")
    if not world.disks[world.host]:
        found.append(f"no disk on the {ROLES[world.host]}, where the server is")
    elif world.records is not None and (not world.records.is_whole or world.records.last < records_before):
        left = world.records.last - world.records.missing
        found.append(f"data of the guest is lost: {left} records are on its disk, and {records_before} had been written")
    return found + _recorded(world, expected) + _left(world)


def _recorded(world: World, expected: Expected) -> list[str]:
    found = []
    if world.status != expected.status:
        found.append(f"server {world.status}" + (f" ({world.task})" if world.task else ""))
    elif world.task is not None:
        found.append(f"task_state {world.task}")
    if world.migration not in expected.migrations:
        found.append(f"migration {world.migration}")
    elif ROLES.get(world.host) != ("destination" if world.migration == COMPLETED else "source"):
        found.append(f"migration {world.migration} and the server on the {ROLES[world.host]}")
    if world.migration != COMPLETED and not world.reasons:
        found.append("no reason told")
    return found


def _left(world: World) -> list[str]:
    """On the host where the server is not, and in placement."""
    found = []
    for host, role in ROLES.items():
        if host == world.host:
            continue
        kinds = {_kind(each) for each in world.leftovers[host]}
        found += [f"{kind} left on the {role}" for kind in ("domain", "disk", "record") if kind in kinds]
    if world.migration_holds:
        found.append("allocation of the migration left")
    if world.allocated != {world.host}:
        found.append(f"allocated on {', '.join(sorted(ROLES.get(host, host) for host in world.allocated)) or 'no host'}")
    return found


def _kind(leftover: str) -> str:
    return leftover.split()[0] if leftover.startswith(("domain ", "record ")) else "disk"


def ending(world: World) -> str:
    """How it ended, in a few words."""
    words = f"{world.status} on the {ROLES.get(world.host, world.host)}, {world.migration}"
    return words + (", reason told" if world.migration != COMPLETED and world.reasons else "")
