"""Starts the product once for all API tests, and gives each test servers of its own."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import socket
import subprocess
import sys
import uuid as uuids
from collections.abc import Callable, Iterator

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from client import Product, wait_until

from nova_blockmigrate import concurrency

CONFIGURATION = """
[DEFAULT]
transport_url = fake://
host = controller
state_path = {state}
instances_path = {state}/instances
compute_driver = fake
report_interval = 1
service_down_time = 3
debug = true
log_file = {state}/log
use_stderr = false
[database]
connection = {database}
[api]
listen = 127.0.0.1
listen_port = {port}
token_file = {state}/tokens.json
[volume]
backend = fake
watch_interval = 0.5
[fake]
transfer_time_s = 1.0
[libvirt]
live_migration_poll_interval = 0.1
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    with start(tmp_path_factory.mktemp("cloud")) as product:
        yield product


@contextlib.contextmanager
def start(state: pathlib.Path) -> Iterator[Product]:
    """The product as a process, until the block ends."""
    port = free_port()
    database = os.environ.get("NBM_TEST_DATABASE", f"sqlite:///{state}/db.sqlite")
    (state / "nova-blockmigrate.conf").write_text(CONFIGURATION.format(state=state, port=port, database=database))
    (state / "log").touch()
    program = pathlib.Path(__file__).with_name("cloud.py")
    with (state / "errors").open("w") as errors:
        process = subprocess.Popen(
            [sys.executable, str(program), str(state), concurrency.mode()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env={**os.environ, "PYTHONWARNINGS": "ignore"},
        )
    try:
        assert process.stdout
        line = process.stdout.readline()
        assert line, f"the product did not start: {(state / 'errors').read_text()[-3000:]}"
        product = Product(process, state, port, json.loads(line)["result"]["tokens"], database)
        wait_until(lambda: len(product.request("GET", "/os-hypervisors").body["hypervisors"]) == 3, "three hosts report")
        yield product
    finally:
        assert process.stdin
        process.stdin.close()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()


@pytest.fixture
def product(running: Product) -> Iterator[Product]:
    """The running product; a test's end takes its doings back, and no guest may have been harmed."""
    yield running
    running.control("reset")
    wait_until(lambda: all(each["state"] == "up" for each in services(running)), "all services are up")
    assert running.control("alarms") == []


@pytest.fixture
def boot(product: Product) -> Iterator[Callable[..., str]]:
    """Boots a server on a host with the real nova command and waits until it runs; returns its UUID."""
    booted: list[str] = []

    def boot_on(host: str = "compute1", flavor: str = "m1.tiny") -> str:
        name = f"lm-{uuids.uuid4().hex[:8]}"
        said = product.nova(
            "boot", "--flavor", flavor, "--image", "guest", "--nic", "none", "--availability-zone", f"nova:{host}", name
        )
        assert said.code == 0, said.everything
        uuid = {row["Property"]: row["Value"] for row in said.table()}["id"]
        booted.append(uuid)
        product.wait_active(uuid, host)
        return uuid

    yield boot_on
    product.control("reset")
    for uuid in booted:
        if product.request("GET", f"/servers/{uuid}").status == 200:
            wait_until(lambda uuid=uuid: product.server(uuid)["OS-EXT-STS:task_state"] is None, "nothing is done to it")
            product.request("DELETE", f"/servers/{uuid}")
            wait_until(lambda uuid=uuid: product.request("GET", f"/servers/{uuid}").status == 404, "it is deleted")


def services(product: Product) -> list[dict[str, str]]:
    listed: list[dict[str, str]] = product.request("GET", "/os-services").body["services"]
    return listed
