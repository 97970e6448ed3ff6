"""The dry run on real hosts: a healthy pair passes, the guest's load is measured, and nothing is changed anywhere."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from labkit import api, seed
from labkit.layout import VENV

HOSTS = ("compute1", "compute2")
PROGRAM = str(VENV / "bin/nova-blockmigrate")
DATABASE = "/var/lib/nova-blockmigrate/nova-blockmigrate.sqlite"
STATES = "/var/lib/nova-blockmigrate"
DUMP = f"""
import sqlite3, json
db = sqlite3.connect("file:{DATABASE}?mode=ro", uri=True)
tables = ["instances", "migrations", "instance_actions", "instance_actions_events", "ports"]
known = [name for name, in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
print(json.dumps({{name: db.execute(f"SELECT * FROM {{name}}").fetchall() for name in tables if name in known}}, sort_keys=True))
"""


def everything(lab: Any) -> dict[str, str]:
    """Files with sizes (but what guests and services write all the time), ledgers, domains, links, rows."""
    found = {"rows": lab.run("controller", ["python3", "-c", DUMP]).stdout}
    for host in HOSTS:
        found[f"files of {host}"] = "\n".join(
            sorted(lab.run(host, ["find", "/var/lib/nova/instances", STATES, "-printf", "%p %y %m %i\\n"]).stdout.splitlines())
        )
        found[f"domains of {host}"] = lab.run(host, ["virsh", "list", "--all", "--uuid", "--name"]).stdout
        found[f"links of {host}"] = "\n".join(
            sorted(link["ifname"] for link in json.loads(lab.run(host, ["ip", "-j", "link"]).stdout))
        )
    return found


def preflight(lab: Any, *arguments: str) -> Any:
    return lab.run("controller", [PROGRAM, "preflight", *arguments], check=False, administrator=True)


def test_a_healthy_pair_passes_and_nothing_is_changed(lab: Any, client: Any, boot: Callable[..., Any]) -> None:
    server = boot()
    before = everything(lab)
    xml = lab.run("compute1", ["virsh", "dumpxml", server.domain]).stdout

    said = preflight(lab, server.name, "compute2", "--json")

    assert said.returncode == 0, said.stdout + said.stderr
    (host,) = json.loads(said.stdout)["hosts"]
    assert host["acceptable"]
    assert everything(lab) == before
    assert lab.run("compute1", ["virsh", "dumpxml", server.domain]).stdout == xml
    estimate = host["estimate"]
    assert estimate["disk_bytes"] > 0 and 0 < estimate["memory_bytes"] <= 256 * 1024**2
    assert estimate["dirty_bytes_s"] is not None and estimate["disk_written_bytes_s"] is not None, estimate["notes"]
    assert estimate["seconds_range"][0] <= estimate["seconds"] <= estimate["seconds_range"][1]


@pytest.mark.long
def test_the_report_is_fast(lab: Any, boot: Callable[..., Any], capsys: Any) -> None:
    server = boot()
    path = f"/blockmigrate/v1/servers/{server.id}/preflight?host=compute2"
    seconds = []
    for _ in range(3):
        started = time.monotonic()
        assert api.get(lab.layout, path, seed.token_of(lab.layout))["preflight"]["hosts"][0]["acceptable"]
        seconds.append(time.monotonic() - started)
    with capsys.disabled():
        print(f"\nreport of a healthy pair: {', '.join(f'{each:.2f}' for each in seconds)} s, one of them watching the guest")


@pytest.mark.long
def test_without_host_the_other_one_is_ranked_first(lab: Any, boot: Callable[..., Any]) -> None:
    server = boot()
    said = preflight(lab, server.name)
    assert said.returncode == 0 and "compute2: acceptable" in said.stdout, said.stdout + said.stderr


def test_a_destination_whose_libvirt_is_gone_is_not_acceptable(lab: Any, boot: Callable[..., Any]) -> None:
    server = boot()
    lab.stop("compute2", "libvirtd")
    try:
        said = preflight(lab, server.name, "compute2")
    finally:
        lab.start("compute2", "libvirtd")
    assert said.returncode == 1, said.stdout + said.stderr
    assert "NOT acceptable" in said.stdout
