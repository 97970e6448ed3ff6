"""What every request meets first: versions, tokens, microversions, errors, paths."""

from __future__ import annotations

import json
import os
import pathlib
from typing import Any

import pytest
from oslo_config import cfg

from nova_blockmigrate import exceptions
from nova_blockmigrate.api import application, auth, errors, microversions
from nova_blockmigrate.db.models import Instance
from tests.unit.api.conftest import Api


@pytest.mark.parametrize("path", ["/v2.1", "/v2.1/"])
def test_version_needs_no_token(api: Api, path: str) -> None:
    answer = api.request("GET", path, user="")
    assert answer.status_code == 200
    assert (answer.json["version"]["version"], answer.json["version"]["min_version"]) == ("2.96", "2.1")
    assert api.get("/", user="")["versions"][0]["id"] == "v2.1"


def test_wrong_token_is_401_and_says_how(api: Api) -> None:
    answer = api.request("GET", "/servers", user="wrong")
    assert answer.status_code == 401
    assert answer.json["unauthorized"]["code"] == 401
    assert answer.headers["WWW-Authenticate"].startswith("Keystone uri=")


def test_answers_carry_microversion_and_request_id(api: Api) -> None:
    headers = api.request("GET", "/servers", minor=60).headers
    assert headers["OpenStack-API-Version"] == "compute 2.60"
    assert headers["X-OpenStack-Nova-API-Version"] == "2.60"
    assert "OpenStack-API-Version" in headers["Vary"]
    assert headers["x-openstack-request-id"] == headers["x-compute-request-id"]


@pytest.mark.parametrize(
    ("header", "legacy", "minor"),
    [
        (None, None, 1),
        ("compute 2.30", None, 30),
        ("compute latest", None, 96),
        ("identity 3.1, compute 2.5", "2.7", 5),
        (None, "2.7", 7),
        ("identity 3.1", None, 1),
    ],
)
def test_microversion_is_read_from_the_headers(header: str | None, legacy: str | None, minor: int) -> None:
    assert microversions.requested(header, legacy) == minor


@pytest.mark.parametrize(("text", "code"), [("2.97", 406), ("2.0", 406), ("3.1", 406), ("2", 400), ("two", 400), ("2.01", 400)])
def test_unknown_microversions_are_refused(api: Api, text: str, code: int) -> None:
    answer = api.request("GET", "/servers", headers={"OpenStack-API-Version": f"compute {text}"})
    assert answer.status_code == code


def test_unknown_path_method_and_json_are_nova_shaped_errors(api: Api, server: Instance) -> None:
    assert api.request("GET", "/nonsense").json["itemNotFound"]["code"] == 404
    assert api.request("PATCH", "/servers").json["badMethod"]["code"] == 405
    assert api.request("PUT", f"/servers/{server.uuid}", headers={"Content-Type": "application/json"}).status_code == 400
    assert api.act(server, {"dance": None}).json["badRequest"]["code"] == 400


def test_large_body_is_refused(api: Api) -> None:
    assert api.request("POST", "/servers", {"server": {"name": "x" * 200_000}}).status_code == 413


def test_internal_error_is_logged_and_not_told(api: Api, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def fail(*arguments: Any) -> None:
        raise ZeroDivisionError("secret detail")

    monkeypatch.setattr("nova_blockmigrate.db.queries.server_lists.search", fail)
    answer = api.request("GET", "/servers")
    assert answer.status_code == 500
    assert "secret detail" not in answer.text and "ZeroDivisionError" in answer.json["computeFault"]["message"]
    assert "secret detail" in caplog.text


def test_remote_traceback_stays_inside() -> None:
    error = exceptions.MigrationPreCheckError("no memory\nTraceback (most recent call last):\n  File ...")
    assert errors.message_of(error) == "no memory"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/v2.1/v2/images", "/v2/images"),
        ("/v2.1/images/x", "/v2/images/x"),
        ("/v2.1/v2.0/networks", "/v2.0/networks"),
        ("/v2.1/servers/detail", "/v2.1/servers/detail"),
        ("/v2.1/0123456789abcdef0123456789abcdef/servers", "/v2.1/servers"),
        ("/v2.1/demo/servers/detail", "/v2.1/servers/detail"),
        (f"/v2.1/servers/7/migrations/{'a' * 36}", f"/v2.1/servers/{'a' * 36}/migrations/7"),
    ],
)
def test_paths_that_clients_use_lead_to_ours(path: str, expected: str) -> None:
    assert application.canonical_path(path, frozenset({"servers", "flavors"})) == expected


def test_token_file_holds_hashes_only_and_is_read_again(conf: cfg.ConfigOpts) -> None:
    file = auth.TokenFile(conf.api.token_file)
    secret = file.add("u", "p", ("member",), "laptop", "now")
    text = pathlib.Path(conf.api.token_file).read_text()
    assert secret not in text and os.stat(conf.api.token_file).st_mode & 0o777 == 0o600
    other = auth.TokenFile(conf.api.token_file)
    assert other.find(secret) is not None
    assert file.remove("laptop") == 1
    assert other.find(secret) is None


def test_roles_include_the_lesser_ones(api: Api, conf: cfg.ConfigOpts) -> None:
    context = auth.TokenFileAuthenticator(conf.api.token_file).authenticate({"HTTP_X_AUTH_TOKEN": api.tokens["boss"]})
    assert context.roles == ["manager", "member", "reader"]


def test_broken_token_file_is_an_error_and_not_open_doors(conf: cfg.ConfigOpts) -> None:
    with open(conf.api.token_file, "w") as file:
        json.dump({"tokens": [{"sha256": 1}]}, file)
    with pytest.raises(exceptions.ConfigurationError):
        auth.TokenFile(conf.api.token_file).find("x")
