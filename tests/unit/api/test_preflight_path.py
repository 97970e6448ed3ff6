"""The dry run's path: who may, what is passed on, what it says when no conductor answers."""

from __future__ import annotations

import oslo_messaging
import pytest

from nova_blockmigrate.db.models import Instance
from tests.unit.api.conftest import Api

REPORT = {"server_uuid": "u", "source": "compute1", "hosts": []}


@pytest.fixture(autouse=True)
def _report(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    def preflight(context: object, *arguments: object) -> dict[str, object]:
        api.conductor.calls.append(("preflight", *arguments))
        if api.conductor.error:
            raise api.conductor.error
        return REPORT

    monkeypatch.setattr(api.conductor, "preflight", preflight, raising=False)


def ask(api: Api, server: Instance, query: str = "", user: str = "admin"):  # type: ignore[no-untyped-def]
    headers = {"X-Auth-Token": api.tokens[user]}
    from falcon import testing

    client = testing.TestClient(lambda environ, start: api.app(environ, start))
    return client.simulate_get(f"/blockmigrate/v1/servers/{server.uuid}/preflight{query}", headers=headers)


def test_report_comes_from_the_conductor(api: Api, server: Instance) -> None:
    answer = ask(api, server, "?host=compute2&block_migration=TRUE")
    assert answer.status_code == 200
    assert answer.json["preflight"] == REPORT | {"server_name": server.display_name}
    assert api.conductor.calls == [("preflight", server.uuid, "compute2", "true")]


def test_without_host_all_are_asked(api: Api, server: Instance) -> None:
    ask(api, server)
    assert api.conductor.calls == [("preflight", server.uuid, None, "auto")]


@pytest.mark.parametrize("user", ["reader", "joe", "boss"])
def test_hosts_are_for_administrators(api: Api, server: Instance, user: str) -> None:
    answer = ask(api, server, user=user)
    assert answer.status_code in (403, 404)
    assert api.conductor.calls == []


@pytest.mark.parametrize("query", ["?block_migration=perhaps", "?surprise=1"])
def test_malformed_query_is_400(api: Api, server: Instance, query: str) -> None:
    assert ask(api, server, query).status_code == 400


def test_no_conductor_is_503(api: Api, server: Instance) -> None:
    api.conductor.error = oslo_messaging.MessagingTimeout("nobody")
    assert ask(api, server).status_code == 503
