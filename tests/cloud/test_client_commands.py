"""The clients' commands, as released, with Keystone and Neutron: the whole table that `tests/api` runs without them."""

from __future__ import annotations

import pathlib
import subprocess
import sys
import uuid as uuids
from collections.abc import Callable
from typing import Any

import pytest

from labkit import seed
from labkit.commands import wait_until
from labkit.layout import VENV
from labkit.scenario import HOST

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "api"))

from command_client import RUNNER, CommandClient, judge
from commands import NOVA, OPENSTACK, Command

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBl0nCq9yyyHhcOjdzvqmbLdTBW2nJGZWSB0hPIGqNwT someone"
QUIET_LIMIT_S = 180


@pytest.mark.parametrize(("name", "commands"), [("nova", NOVA), ("openstack", OPENSTACK)])
def test_commands(
    lab: Any,
    client: Any,
    neutron: Any,
    boot: Callable[..., Any],
    tmp_path: pathlib.Path,
    name: str,
    commands: tuple[Command, ...],
) -> None:
    """In one go, as each needs what those before it did. All of them run; what went wrong is told together."""
    (tmp_path / "key.pub").write_text(KEY)
    server = boot(neutron.make_port(51, port_security_enabled=False), name="lm051").id
    service = client.request("GET", "/os-services?host=compute2&binary=nova-compute")["services"][0]["id"]
    request = client.request("GET", f"/servers/{server}/os-instance-actions")["instanceActions"][-1]["request_id"]

    known = {"server": server, "flavor": "m1.tiny", "image": seed.IMAGE, "word": f"w{uuids.uuid4().hex[:6]}"}
    known |= {
        "project": client.server(server)["tenant_id"],
        "key": str(tmp_path / "key.pub"),
        "request": request,
        "service": service,
    }
    argv = [str(VENV / "bin/python"), "-W", "ignore", str(RUNNER), name]
    process = lab.popen("controller", argv, administrator=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    runner, wrong = CommandClient(process), []
    for command in commands:
        wait_until(lambda: is_quiet(client, server), QUIET_LIMIT_S, "nothing is done to the server")
        problem = judge(runner, command, known | hosts(client, server))
        wrong += [problem] if problem else []
    runner.end()
    assert not wrong, "\n".join(wrong)


def is_quiet(client: Any, server: str) -> bool:
    return client.server(server)["OS-EXT-STS:task_state"] is None


def hosts(client: Any, server: str) -> dict[str, str]:
    here = client.server(server)[HOST]
    return {"host": here, "other": "compute2" if here == "compute1" else "compute1"}
