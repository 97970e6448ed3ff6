"""Bases that no guest of a host needs any more go by themselves; those that one needs, and what others put there, stay."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any

from labkit import scenario
from labkit.commands import wait_until
from tests.lab.worlds import DESTINATION, INSTANCES, configured

BASES = f"{INSTANCES}/_base"
AT_ONCE = {"image_cache.manager_interval": "1", "image_cache.remove_unused_original_minimum_age_seconds": "0"}


def base_of(lab: Any, server: Any, host: str) -> str:
    described = lab.run(host, ["qemu-img", "info", "-U", "--output=json", server.disk]).stdout
    return str(json.loads(described)["full-backing-filename"])


def has(lab: Any, path: str) -> bool:
    return bool(lab.run(DESTINATION, ["test", "-e", path], check=False).returncode == 0)


def needed_last(lab: Any, base: str) -> float:
    """The time of the manifest of a base: each look notes there that it is needed."""
    manifest = f"/var/lib/nova-blockmigrate/manifests/{hashlib.sha256(base.encode()).hexdigest()[:32]}.json"
    return float(lab.run(DESTINATION, ["stat", "-c", "%.9Y", manifest]).stdout)


def move(lab: Any, client: Any, server: Any, host: str) -> None:
    lab.nova("live-migration", "--block-migrate", server.name, host)
    ended = scenario.wait_for_end(client, server.id, 120)
    assert ended["status"] == "completed", scenario.reasons(client, server.id)


def test_a_base_goes_when_its_last_guest_has_left_and_comes_with_the_next(lab: Any, client: Any, boot: Callable[..., Any]) -> None:
    server = boot(DESTINATION)
    base, foreign = base_of(lab, server, DESTINATION), f"{BASES}/somebodys"
    lab.run(DESTINATION, ["sh", "-c", f"echo x > {foreign}"])
    try:
        with configured(lab, DESTINATION, "compute", AT_ONCE):
            move(lab, client, server, "compute1")
            wait_until(lambda: not has(lab, base), 60, "the base is gone")
            assert has(lab, foreign)

            move(lab, client, server, DESTINATION)
            base = base_of(lab, server, DESTINATION)
            for _ in range(2):
                seen = needed_last(lab, base)
                wait_until(lambda seen=seen: needed_last(lab, base) > seen, 60, "it was looked for bases meanwhile")
            assert has(lab, base)
            assert server.guest.verify().is_whole
    finally:
        lab.run(DESTINATION, ["rm", "-f", foreign])
