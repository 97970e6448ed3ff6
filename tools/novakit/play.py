"""Plays one case: a fresh server, a migration that is broken, everything mended, and what is real then, judged.

Afterwards nothing of it is left, by force where needed: what Nova's own driver leaves must not reach the next case.
"""

from __future__ import annotations

import contextlib
import http.client
import time
from dataclasses import dataclass, field

from labkit.commands import wait_until
from labkit.errors import LabError
from labkit.layout import INSTANCES
from labkit.sampler import Sampler
from novakit import judge, world
from novakit.cases import Case, Migration
from novakit.cloud import HOSTS, SOURCE, Cloud, Server

LIMIT_S = 120.0
"""How long after everything is back it may take until all is right."""
UNCHANGED_S = 45.0
"""When Nova says that it is over, and nothing has changed for so long, it will not. Our driver looks every 30 s for what its
destinations were not told."""
LOOK_INTERVAL_S = 2.0
SAMPLE_INTERVAL_S = 0.02
PORT = 70
"""The last part of the guest's address, in cases that need one."""
ABSENT = (OSError, LabError, http.client.HTTPException, ValueError)


@dataclass
class Result:
    """What came of one case."""

    name: str
    ending: str = ""
    wrong: list[str] = field(default_factory=list)
    seconds: float = 0.0
    """From the moment when everything was back to the last look."""
    trouble: str = ""
    """It could not be played."""

    @property
    def held(self) -> bool:
        return not self.wrong and not self.trouble


def play(cloud: Cloud, case: Case) -> Result:
    result = Result(case.name)
    try:
        server = cloud.boot(networks=[{"port": cloud.make_port(PORT)["id"]}] if case.on_network else None)
        sampler = Sampler(cloud.lab, server.domain, SAMPLE_INTERVAL_S).start()
        try:
            before = cloud.records(server, SOURCE).last
            migration = case.play(cloud, server)
            cloud.mend()
            _settle(cloud, case, server, migration, before, result)
        finally:
            report = sampler.stop()
        if report.max_running > 1:
            result.wrong.insert(0, f"{report.max_running} copies ran at once for {report.overlap_s * 1000:.0f} ms")
    except ABSENT as error:
        result.trouble = f"{type(error).__name__}: {error}"
    return result


def _settle(cloud: Cloud, case: Case, server: Server, migration: Migration, records_before: int, result: Result) -> None:
    """Look until nothing is wrong, or it is certain that something stays so."""
    began = time.monotonic()
    seen: world.World | None = None
    changed_at = began
    while True:
        with contextlib.suppress(*ABSENT):
            now = world.look(cloud, server, migration["uuid"])
            if now != seen:
                seen, changed_at = now, time.monotonic()
        waited_s = time.monotonic() - began
        right = seen is not None and not judge.wrong(seen, case.expected, records_before)
        stuck = seen is not None and judge.is_over(seen) and time.monotonic() - changed_at > UNCHANGED_S
        if right or stuck or waited_s > LIMIT_S:
            break
        time.sleep(LOOK_INTERVAL_S)
    result.seconds = round(waited_s, 1)
    final = world.look(cloud, server, migration["uuid"], with_records=True)
    result.ending = judge.ending(final)
    result.wrong = judge.wrong(final, case.expected, records_before)


# --- making good ----------------------------------------------------------------------------------------------------------


def clear(cloud: Cloud, by_force: bool) -> None:
    """No server is left; with force, whatever was left on hosts and in placement goes, and the services begin anew.

    :raises LabError: it could not be done, and the laboratory must be built anew.
    """
    cloud.mend()
    servers = cloud.request("GET", "/servers?all_tenants=1")["servers"]
    consumers = [one["id"] for one in servers] + [one["uuid"] for one in cloud.request("GET", "/os-migrations")["migrations"]]
    for one in servers:
        if by_force:
            cloud.request("POST", f"/servers/{one['id']}/action", {"os-resetState": {"state": "active"}})
        cloud.request("DELETE", f"/servers/{one['id']}")
    wait_until(lambda: not cloud.request("GET", "/servers?all_tenants=1")["servers"], 90, "servers are deleted", interval_s=1)
    cloud.delete_ports()
    if not by_force:
        return
    for consumer in consumers:
        cloud.drop_allocations(consumer)
    for host in HOSTS:
        cloud.kill_compute(host)
        _clear_host(cloud, host)
        cloud.start_compute(host)
    for host in HOSTS:
        cloud.wait_until_ready(host)


def _clear_host(cloud: Cloud, host: str) -> None:
    for domain in cloud.lab.run(host, ["virsh", "list", "--all", "--name"]).stdout.split():
        cloud.lab.run(host, ["virsh", "destroy", domain], check=False)
        cloud.lab.run(host, ["virsh", "undefine", domain], check=False)
    cloud.lab.run(
        host, ["find", INSTANCES, "-mindepth", "1", "-maxdepth", "1", "-name", "*-*-*-*-*", "-exec", "rm", "-rf", "{}", "+"]
    )
