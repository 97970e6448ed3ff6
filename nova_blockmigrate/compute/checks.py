"""What a host tells of itself and of a guest for the checks, gathered side by side in native threads."""

from __future__ import annotations

import dataclasses
from typing import Any

from nova_blockmigrate import exceptions
from nova_blockmigrate.objects import GuestDescription, MigrationPlan, to_primitive
from nova_blockmigrate.threads import in_parallel
from nova_blockmigrate.virt.driver import ComputeDriver

Primitive = dict[str, Any]


def look_at_host(driver: ComputeDriver) -> Primitive:
    """The host by itself."""
    return {"resources": to_primitive(driver.get_available_resource()), "survey": to_primitive(driver.survey_host())}


def look_at_source(driver: ComputeDriver, plan: MigrationPlan) -> Primitive:
    """The host and its guest. A chain that cannot be read is a finding; the rest is told all the same."""

    def describe() -> tuple[GuestDescription | None, str]:
        try:
            return driver.check_can_live_migrate_source(plan.server), ""
        except exceptions.StorageError as error:
            return None, error.message

    work: list[Any] = [describe, lambda: driver.survey_guest(plan.server), lambda: look_at_host(driver)]
    (guest, chain_problem), found, host = in_parallel(work)
    guest_survey = dataclasses.replace(found, chain_problem=chain_problem)
    return {**host, "guest": to_primitive(guest), "guest_survey": to_primitive(guest_survey)}
