"""Requests to REST services on the controller, from outside its namespaces."""

import contextlib
import http.client
import json
from typing import Any

from labkit import fabric
from labkit.errors import LabError
from labkit.layout import Layout

TIMEOUT_S = 30


def ask(
    layout: Layout, port: int, method: str, path: str, body: Any = None, token: str = "", accepted: tuple[int, ...] = ()
) -> tuple[Any, dict[str, str]]:
    """The answer's JSON (None without any) and headers; OSError when nobody answers, LabError when the answer is an error that
    is not `accepted`."""
    address = layout.controller.management_ip
    client = http.client.HTTPConnection(address, port, timeout=TIMEOUT_S)
    client.sock = fabric.connect(layout.controller.namespace, address, port, TIMEOUT_S)
    headers = {"Content-Type": "application/json", "Accept": "application/json"} | ({"X-Auth-Token": token} if token else {})
    with contextlib.closing(client):
        client.request(method, path, json.dumps(body) if body is not None else None, headers)
        answer = client.getresponse()
        content = answer.read()
    if answer.status >= 400 and answer.status not in accepted:
        raise LabError(f"{method} {path}: {answer.status} {content[:500].decode(errors='replace')}")
    return (json.loads(content) if content else None), {name.lower(): value for name, value in answer.getheaders()}


def answers(layout: Layout, port: int, path: str = "/") -> bool:
    with contextlib.suppress(OSError, LabError, ValueError, http.client.HTTPException):
        ask(layout, port, "GET", path)
        return True
    return False
