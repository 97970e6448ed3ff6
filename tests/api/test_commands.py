"""Every `nova` and `openstack` command for what is served, as released, against the product; and clear words about the rest."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
import uuid as uuids
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from client import ONE_MODE, Product, wait_until
from command_client import RUNNER, CommandClient, judge
from commands import NOVA, NOVA_MOVING, OPENSTACK, OPENSTACK_MOVING

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBl0nCq9yyyHhcOjdzvqmbLdTBW2nJGZWSB0hPIGqNwT someone"

pytestmark = pytest.mark.skipif(ONE_MODE, reason="the same on native threads")


def start(name: str, product: Product) -> CommandClient:
    variables = {"OS_AUTH_URL": product.endpoint, "OS_PROJECT_NAME": "admin"} if name == "nova" else {}
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(product.state),
        "LANG": "C.UTF-8",
        "PYTHONWARNINGS": "ignore",
        "OS_AUTH_TYPE": "admin_token",
        "OS_TOKEN": product.tokens["admin"],
        "OS_ENDPOINT": product.endpoint,
        **variables,
    }
    process = subprocess.Popen(
        [sys.executable, str(RUNNER), name], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    return CommandClient(process, () if name == "nova" else ("--os-identity-api-version", "2"))


@pytest.fixture(scope="module", params=["nova", "openstack"])
def client(request: pytest.FixtureRequest, running: Product) -> Iterator[Any]:
    made = start(request.param, running)
    yield made, *((NOVA, NOVA_MOVING) if request.param == "nova" else (OPENSTACK, OPENSTACK_MOVING))
    made.end()


def test_commands(client: Any, product: Product, boot: Callable[..., str], tmp_path: pathlib.Path) -> None:
    """In one go, as each needs what those before it did. All of them run; what went wrong is told together."""
    runner, commands, _ = client
    (tmp_path / "key.pub").write_text(KEY)
    server = boot("compute1")
    created = product.request("GET", f"/servers/{server}/os-instance-actions").body["instanceActions"][-1]["request_id"]
    service = product.request("GET", "/os-services?host=compute3&binary=nova-compute").body["services"][0]["id"]
    image = product.request("GET", "/images").body["images"][0]["id"]
    known = {"server": server, "flavor": "m1.tiny", "image": image, "word": f"w{uuids.uuid4().hex[:6]}", "project": "demo"}
    known |= {"key": str(tmp_path / "key.pub"), "request": created, "service": service, "user": "admin"}
    wrong = []
    for command in (one for one in commands if not one.identity):
        settle(product, server)
        problem = judge(runner, command, known | hosts(product, server))
        wrong += [problem] if problem else []
    assert not wrong, "\n".join(wrong)
    wait_until(lambda: product.request("GET", f"/servers/{server}").status == 404, "the last command deleted it")


def test_commands_for_a_server_on_its_way(client: Any, product: Product, boot: Callable[..., str]) -> None:
    runner, _, commands = client
    server, wrong = boot("compute1"), []
    for command in commands:
        if not product.request("GET", f"/servers/{server}/migrations").body["migrations"]:
            known = hosts(product, server)
            product.control("hold", host=known["host"], point="live_migration")
            product.migrate(server, known["other"])
            product.wait_migration(server, "running")
        migration = product.migrations(server)[0]
        problem = judge(runner, command, known | {"server": server, "migration": str(migration["id"])})
        wrong += [problem] if problem else []
        ended = {"abort": "cancelled", "complete": "completed"}
        for word, status in ended.items():
            if f"{word} {{server}}" in command.words:
                product.wait_migration(server, status)
                product.control("release", host=known["host"], point="live_migration")
    assert not wrong, "\n".join(wrong)


def hosts(product: Product, server: str) -> dict[str, str]:
    here = product.server(server)["OS-EXT-SRV-ATTR:host"]
    return {"host": here, "other": "compute2" if here == "compute1" else "compute1"}


def settle(product: Product, server: str) -> None:
    def quiet() -> bool:
        answer = product.request("GET", f"/servers/{server}")
        return bool(answer.status == 404 or answer.body["server"]["OS-EXT-STS:task_state"] is None)

    wait_until(quiet, "nothing is done to the server", timeout_s=60)
