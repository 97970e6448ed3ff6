"""Requests to REST services on the controller, from outside its namespaces."""

import contextlib
import http.client
import json
from pathlib import Path
from typing import Any

from labkit import fabric
from labkit.errors import LabError
from labkit.layout import Layout

TIMEOUT_S = 30


def ask(
    layout: Layout, port: int, method: str, path: str, body: Any = None, token: str = "", version: str = ""
) -> tuple[Any, dict[str, str]]:
    """The answer's JSON (None without any) and headers; OSError when nobody answers, LabError when the answer is an error.
    `version`: a microversion with its service, such as "volume 3.44"."""
    more = {"X-Auth-Token": token, "OpenStack-API-Version": version}
    status, content, headers = _request(layout, port, method, path, body, {name: value for name, value in more.items() if value})
    if status >= 400:
        raise LabError(f"{method} {path}: {status} {content[:500].decode(errors='replace')}")
    return (json.loads(content) if content else None), headers


def status_of(layout: Layout, port: int, method: str, path: str, body: Any = None, token: str = "") -> int:
    """The answer's status, whatever it is."""
    return _request(layout, port, method, path, body, {"X-Auth-Token": token} if token else {})[0]


def raw(layout: Layout, port: int, method: str, path: str, body: Any, token: str, version: str) -> tuple[int, Any]:
    """The answer's status and its JSON, whatever they are; `version` as in `ask`."""
    more = {"X-Auth-Token": token, "OpenStack-API-Version": version}
    status, content, _ = _request(layout, port, method, path, body, more)
    return status, json.loads(content) if content else None


def upload(layout: Layout, port: int, path: str, file: Path, token: str) -> None:
    """PUT a file's bytes.

    :raises LabError: the answer is an error.
    """
    with file.open("rb") as body:
        more = {"X-Auth-Token": token, "Content-Type": "application/octet-stream", "Content-Length": str(file.stat().st_size)}
        status, content, _ = _send(layout, port, "PUT", path, body, more)
    if status >= 400:
        raise LabError(f"PUT {path}: {status} {content[:500].decode(errors='replace')}")


def revoke(layout: Layout, port: int, token: str) -> None:
    """End a token at Keystone, in its own name."""
    _request(layout, port, "DELETE", "/v3/auth/tokens", None, {"X-Auth-Token": token, "X-Subject-Token": token})


def _request(
    layout: Layout, port: int, method: str, path: str, body: Any, more_headers: dict[str, str]
) -> tuple[int, bytes, dict[str, str]]:
    headers = {"Content-Type": "application/json", "Accept": "application/json"} | more_headers
    return _send(layout, port, method, path, json.dumps(body) if body is not None else None, headers)


def _send(
    layout: Layout, port: int, method: str, path: str, body: Any, headers: dict[str, str]
) -> tuple[int, bytes, dict[str, str]]:
    address = layout.controller.management_ip
    client = http.client.HTTPConnection(address, port, timeout=TIMEOUT_S)
    client.sock = fabric.connect(layout.controller.namespace, address, port, TIMEOUT_S)
    with contextlib.closing(client):
        client.request(method, path, body, headers)
        answer = client.getresponse()
        content = answer.read()
    return answer.status, content, {name.lower(): value for name, value in answer.getheaders()}


def answers(layout: Layout, port: int, path: str = "/") -> bool:
    with contextlib.suppress(OSError, LabError, ValueError, http.client.HTTPException):
        ask(layout, port, "GET", path)
        return True
    return False
