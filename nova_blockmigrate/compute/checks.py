"""What a host tells of itself and of a guest for the checks, gathered side by side in native threads."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import Any

from nova_blockmigrate import exceptions
from nova_blockmigrate.objects import GuestDescription, MigrationPlan, Server, to_primitive
from nova_blockmigrate.threads import in_parallel
from nova_blockmigrate.virt.driver import ComputeDriver

Primitive = dict[str, Any]


def look_at_host(driver: ComputeDriver) -> Primitive:
    """The host by itself."""
    return {"resources": to_primitive(driver.get_available_resource()), "survey": to_primitive(driver.survey_host())}


def look_at_source(driver: ComputeDriver, plan: MigrationPlan) -> Primitive:
    """The host and its guest."""
    guest, host = in_parallel([lambda: look_at_guest(driver, plan.server), lambda: look_at_host(driver)])
    return {**host, **guest}


def look_at_guest(driver: ComputeDriver, server: Server) -> Primitive:
    """A guest of the host. A chain that cannot be read is a finding; the rest is told all the same."""

    def describe() -> tuple[GuestDescription | None, str]:
        try:
            return driver.check_can_live_migrate_source(server), ""
        except exceptions.StorageError as error:
            return None, error.message

    work: list[Any] = [describe, lambda: driver.survey_guest(server)]
    (guest, chain_problem), found = in_parallel(work)
    return {"guest": to_primitive(guest), "guest_survey": to_primitive(dataclasses.replace(found, chain_problem=chain_problem))}


def look_at_guests(driver: ComputeDriver, names: tuple[str, ...]) -> list[Primitive]:
    """Guests by their names or UUIDs (without any: all), whoever made them: of each {"found", "guest", "guest_survey"}."""
    looks = []
    for found in driver.find_guests(names):
        server = Server(found.uuid, found.name, found.name, found.memory_mib, found.vcpus, 0, None)
        with contextlib.suppress(exceptions.GuestNotFound):  # it went between the two questions
            looks.append({"found": to_primitive(found), **look_at_guest(driver, server)})
    return looks
