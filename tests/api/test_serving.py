"""The API as a web service: ways to run it, request ids, proxies, browsers, health, slow and oversized requests, TLS."""

from __future__ import annotations

import http.client
import json
import os
import pathlib
import re
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from client import Product, wait_until
from conftest import CONFIGURATION, free_port

from nova_blockmigrate import concurrency
from tests.pki import Authority, write, write_key

GLOBAL = "req-11111111-2222-4333-8444-555555555555"
MORE = """
[api]
client_timeout = 2
[cors]
allowed_origin = https://dashboard.example.org
[oslo_middleware]
enable_proxy_headers_parsing = true
[healthcheck]
backends = disable_by_file
disable_by_file_path = {state}/drained
"""


class Service:
    """A process that serves the API, and how to ask it."""

    def __init__(self, port: int, token: str, context: ssl.SSLContext | None = None) -> None:
        self.port, self.token, self._context = port, token, context

    def ask(self, path: str, method: str = "GET", body: Any = None, **headers: str) -> tuple[int, dict[str, str], bytes]:
        if self._context:
            connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                "localhost", self.port, timeout=20, context=self._context
            )
        else:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        sent = {"X-Auth-Token": self.token} | {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, json.dumps(body) if body is not None else None, sent)
        answer = connection.getresponse()
        result = answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
        connection.close()
        return result


def serve(state: pathlib.Path, kind: str, product: Product, more: str = "") -> tuple[subprocess.Popen[bytes], int]:
    """Start `kind`: our own server in the mode of this run, or gunicorn; on the product's database and tokens."""
    port = free_port()
    text = CONFIGURATION.format(state=state, port=port, database=product.database)
    text = text.replace(f"{state}/tokens.json", f"{product.state}/tokens.json") + MORE.format(state=state) + more
    (state / "api.conf").write_text(text)
    programs = pathlib.Path(sys.executable).parent
    commands = {
        "own": [programs / "nova-blockmigrate-api", "--config-file", state / "api.conf"],
        "gunicorn": [programs / "gunicorn", "--bind", f"127.0.0.1:{port}", "--workers", "2", "--threads", "4",
                     "nova_blockmigrate.wsgi:application"],
    }  # fmt: skip
    environment = {**os.environ, "NOVA_BLOCKMIGRATE_CONCURRENCY": concurrency.mode(), "PYTHONWARNINGS": "ignore"}
    environment["NOVA_BLOCKMIGRATE_CONFIG_FILES"] = str(state / "api.conf")
    process = subprocess.Popen([str(word) for word in commands[kind]], env=environment, stderr=(state / "errors").open("wb"))
    return process, port


def end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()


def answers(service: Service, process: subprocess.Popen[bytes], state: pathlib.Path) -> bool:
    assert process.poll() is None, (state / "errors").read_text()
    try:
        return service.ask("/")[0] == 200
    except OSError:
        return False


@pytest.fixture(scope="module", params=["own", "gunicorn"])
def served(request: pytest.FixtureRequest, running: Product, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    if request.param == "gunicorn" and concurrency.mode() == concurrency.EVENTLET:
        pytest.skip("a WSGI server of one's own is not run on eventlet")
    state = tmp_path_factory.mktemp(request.param)
    process, port = serve(state, request.param, running)
    service = Service(port, running.tokens["admin"])
    wait_until(lambda: answers(service, process, state), "it answers", timeout_s=60)
    yield service, state
    end(process)


def test_it_answers_from_the_database(served: Any) -> None:
    service, _ = served
    status, headers, body = service.ask("/v2.1/os-hypervisors", OpenStack_API_Version="compute 2.96")
    assert status == 200 and len(json.loads(body)["hypervisors"]) == 3
    assert headers["openstack-api-version"] == "compute 2.96" and headers["content-type"] == "application/json"


def test_request_ids_are_told_and_the_global_one_is_in_the_log(served: Any) -> None:
    service, state = served
    _, headers, _ = service.ask("/v2.1/servers", X_OpenStack_Request_ID=GLOBAL)
    own = headers["x-openstack-request-id"]
    assert own == headers["x-compute-request-id"] and re.fullmatch(r"req-[0-9a-f-]{36}", own) and own != GLOBAL
    log = (state / "log").read_text()
    assert [line for line in log.splitlines() if GLOBAL in line and own in line], log[-2000:]
    _, headers, _ = service.ask("/v2.1/servers", X_OpenStack_Request_ID="not an id; rm -rf")
    assert "rm -rf" not in (state / "log").read_text()


def test_links_follow_the_proxy(served: Any) -> None:
    service, _ = served
    _, _, body = service.ask("/", X_Forwarded_Proto="https", X_Forwarded_Host="cloud.example.org", X_Forwarded_Prefix="/compute")
    (link,) = json.loads(body)["versions"][0]["links"]
    assert link["href"] == "https://cloud.example.org/compute/v2.1/"


def test_browsers_of_allowed_sites_may_ask(served: Any) -> None:
    service, _ = served
    asked = {"Access_Control_Request_Method": "GET", "Access_Control_Request_Headers": "X-Auth-Token,OpenStack-API-Version"}
    status, headers, _ = service.ask("/v2.1/servers", "OPTIONS", Origin="https://dashboard.example.org", **asked)
    assert status == 200 and headers["access-control-allow-origin"] == "https://dashboard.example.org"
    _, headers, _ = service.ask("/v2.1/servers", Origin="https://dashboard.example.org")
    assert "x-openstack-request-id" in headers["access-control-expose-headers"].lower()
    _, headers, _ = service.ask("/v2.1/servers", "OPTIONS", Origin="https://evil.example.org", **asked)
    assert "access-control-allow-origin" not in headers


def test_health_is_told_without_a_token_until_it_is_drained(served: Any) -> None:
    service, state = served
    assert service.ask("/healthcheck", X_Auth_Token="")[0] == 200
    (state / "drained").touch()
    assert service.ask("/healthcheck")[0] == 503
    (state / "drained").unlink()
    assert service.ask("/healthcheck/")[0] == 200


def test_too_large_a_request_is_refused(served: Any) -> None:
    service, _ = served
    status, _, body = service.ask("/v2.1/servers", "POST", {"server": {"name": "x" * 200_000}})
    assert status == 413 and json.loads(body)["overLimit"]["code"] == 413


def test_silent_clients_are_let_go_and_hinder_nobody(served: Any) -> None:
    service, _ = served
    head = b"POST /v2.1/servers HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n"
    silent = [socket.create_connection(("127.0.0.1", service.port), timeout=60) for _ in range(3)]
    for one in silent:
        one.sendall(head)
    assert service.ask("/")[0] == 200
    for one in silent:
        one.close()


def test_own_server_closes_the_connection_of_a_silent_client(served: Any) -> None:
    service, state = served
    if state.name.startswith("gunicorn"):
        pytest.skip("gunicorn has timeouts of its own")
    with socket.create_connection(("127.0.0.1", service.port), timeout=60) as silent:
        silent.sendall(b"GET /v2.1/servers HTTP/1.1\r\nHost:")
        while silent.recv(1000):  # an answer or none, and then the end
            pass


def test_own_server_speaks_tls(running: Product, tmp_path: pathlib.Path) -> None:
    authority = Authority()
    certificate, key = authority.sign("localhost", ("localhost",))
    write(tmp_path / "cert.pem", certificate)
    write_key(tmp_path / "key.pem", key)
    write(tmp_path / "ca.pem", authority.certificate)
    more = f"[api]\nssl_cert_file = {tmp_path}/cert.pem\nssl_key_file = {tmp_path}/key.pem\nclient_timeout = 60\n"
    process, port = serve(tmp_path, "own", running, more)
    service = Service(port, running.tokens["admin"], ssl.create_default_context(cafile=str(tmp_path / "ca.pem")))
    try:
        wait_until(lambda: answers(service, process, tmp_path), "it answers", timeout_s=60)
        (link,) = json.loads(service.ask("/")[2])["versions"][0]["links"]
        assert link["href"] == f"https://localhost:{port}/v2.1/"
        _others_are_served(service, said=b"")
        _others_are_served(service, said=b"GET / HTTP/1.1\r\n\r\n")
    finally:
        end(process)


def _others_are_served(service: Service, said: bytes) -> None:
    """While a client that has said so much, in plain text, says no more."""
    with socket.create_connection(("localhost", service.port), timeout=60) as silent:
        silent.sendall(said)
        assert service.ask("/")[0] == 200


def test_global_id_goes_with_the_migration_into_every_log(product: Product, boot: Any) -> None:
    """Through the broker to the conductor and both hosts, long after the request was answered."""
    uuid = boot("compute1")
    service = Service(int(product.endpoint.rpartition(":")[2].partition("/")[0]), product.tokens["admin"])
    body = {"os-migrateLive": {"host": "compute2", "block_migration": "auto"}}
    known = GLOBAL.replace("1", "a")
    status, headers, _ = service.ask(
        f"/v2.1/servers/{uuid}/action", "POST", body, OpenStack_API_Version="compute 2.96", X_OpenStack_Request_ID=known
    )
    assert status == 202
    own = headers["x-openstack-request-id"]
    product.wait_active(uuid, "compute2")
    product.wait_migration(uuid, "completed")
    label = f"[migration {product.migrations(uuid)[0]['id']} "
    assert [line for line in product.log().splitlines() if label in line and (known not in line or own not in line)] == []
    lines = [line for line in product.log().splitlines() if uuid in line and own in line]
    parts = {part for part in ("api.access", "conductor", "compute") for line in lines if f"nova_blockmigrate.{part}" in line}
    assert parts == {"api.access", "conductor", "compute"}
    assert [line for line in lines if known not in line] == []


def test_lines_of_a_failed_migration_name_its_request(product: Product, boot: Any) -> None:
    uuid = boot("compute1")
    product.control("fail", host="compute2", point="pre_live_migration", reason="the disk is full")
    service = Service(int(product.endpoint.rpartition(":")[2].partition("/")[0]), product.tokens["admin"])
    body = {"os-migrateLive": {"host": "compute2", "block_migration": "auto"}}
    known = GLOBAL.replace("1", "b")
    _, headers, _ = service.ask(
        f"/v2.1/servers/{uuid}/action", "POST", body, OpenStack_API_Version="compute 2.96", X_OpenStack_Request_ID=known
    )
    product.wait_migration(uuid, "failed")
    label = f"[migration {product.migrations(uuid)[0]['id']} "
    lines = wait_until(lambda: [each for each in product.log().splitlines() if label in each], "it is logged")
    assert [line for line in lines if known not in line or headers["x-openstack-request-id"] not in line] == []


def test_lines_about_strangers_do_not_name_the_caller_before_them(product: Product) -> None:
    for _ in range(40):  # every thread has answered an administrator
        product.request("GET", "/os-services")
    assert product.request("GET", "/os-services?stranger", token="nobody").status == 401
    assert product.request("GET", "/nothing?stranger").status == 404
    lines = [line for line in product.log().splitlines() if "?stranger" in line and "api.access" in line]
    assert len(lines) == 2
    for line in lines:
        shown = re.search(r"\[(?P<ids>[^\]]*)\] (?P<own>req-\S+) ", line)
        assert shown and shown["own"] in shown["ids"] and "admin" not in shown["ids"], line
