"""Every `nova` and `openstack` command for what is served, as released, against the product; and clear words about the rest."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
import uuid as uuids
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from client import ONE_MODE, Product, wait_until
from commands import NOVA, OPENSTACK, Command

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBl0nCq9yyyHhcOjdzvqmbLdTBW2nJGZWSB0hPIGqNwT someone"

pytestmark = pytest.mark.skipif(ONE_MODE, reason="the same on native threads")


class Client:
    """One of the clients, imported once."""

    def __init__(self, name: str, product: Product) -> None:
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
        runner = pathlib.Path(__file__).with_name("command_runner.py")
        self._before = [] if name == "nova" else ["--os-identity-api-version", "2"]
        self._process = subprocess.Popen(
            [sys.executable, str(runner), name], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def run(self, words: list[str]) -> tuple[int, str]:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps([*self._before, *words]) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        return answer["code"], answer["output"]

    def end(self) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait(10)


@pytest.fixture(params=["nova", "openstack"])
def client(request: pytest.FixtureRequest, product: Product) -> Iterator[Any]:
    made = Client(request.param, product)
    yield made, NOVA if request.param == "nova" else OPENSTACK
    made.end()


def test_commands(client: Any, product: Product, boot: Callable[..., str], tmp_path: pathlib.Path) -> None:
    """In one go, as each needs what those before it did. All of them run; what went wrong is told together."""
    runner, commands = client
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


def hosts(product: Product, server: str) -> dict[str, str]:
    here = product.server(server)["OS-EXT-SRV-ATTR:host"]
    return {"host": here, "other": "compute2" if here == "compute1" else "compute1"}


def judge(runner: Client, command: Command, known: dict[str, str]) -> str:
    """What is wrong with what the command did, in words."""
    words = command.words.format(**known)
    code, output = runner.run(words.split()[1:])
    if command.fails:
        return "" if code and command.fails in output else f"{words}: {code}, not refused as wanted: {output[-500:]}"
    if code:
        return f"{words}: ended with {code}: {output[-500:]}"
    return "" if command.says.format(**known) in output else f"{words}: does not say {command.says}: {output[-500:]}"


def settle(product: Product, server: str) -> None:
    def quiet() -> bool:
        answer = product.request("GET", f"/servers/{server}")
        return bool(answer.status == 404 or answer.body["server"]["OS-EXT-STS:task_state"] is None)

    wait_until(quiet, "nothing is done to the server", timeout_s=60)
