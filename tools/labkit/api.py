"""Asks the laboratory's API, from outside its namespaces, what the laboratory itself needs to know."""

import contextlib
import http.client
import json
from typing import Any

from labkit import fabric
from labkit.errors import LabError
from labkit.layout import API_PORT, Layout


def get(layout: Layout, path: str, token: str = "", timeout_s: float = 10) -> Any:
    """The JSON body of a GET; OSError when nobody answers, LabError when the answer is an error."""
    controller = layout.controller
    client = http.client.HTTPConnection(controller.management_ip, API_PORT, timeout=timeout_s)
    client.sock = fabric.connect(controller.namespace, controller.management_ip, API_PORT, timeout_s)
    with contextlib.closing(client):
        client.request("GET", path, headers={"X-Auth-Token": token, "OpenStack-API-Version": "compute 2.96"} if token else {})
        answer = client.getresponse()
        body = answer.read()
    if answer.status >= 400:
        raise LabError(f"GET {path}: {answer.status} {body[:300].decode(errors='replace')}")
    return json.loads(body)


def answers(layout: Layout) -> bool:
    with contextlib.suppress(OSError, LabError, ValueError, http.client.HTTPException):
        get(layout, "/")
        return True
    return False


def services(layout: Layout, token: str) -> dict[tuple[str, str], str]:
    """State (up, down) by host and name, such as ("compute1", "nova-compute")."""
    listed = get(layout, "/v2.1/os-services", token)["services"]
    return {(service["host"], service["binary"]): service["state"] for service in listed}


def missing_services(layout: Layout, token: str) -> list[str]:
    """The services that should be up and are not, as a person would name them."""
    try:
        states = services(layout, token)
    except (OSError, LabError, ValueError, http.client.HTTPException) as error:
        return [f"the API's list of services ({error})"]
    up = {(host, _kind(binary)) for (host, binary), state in states.items() if state == "up"}
    wanted = {(layout.controller.name, "conductor"), *((host.name, "compute") for host in layout.hosts)}
    return [f"{kind} on {host}" for host, kind in sorted(wanted - up)]


def _kind(binary: str) -> str:
    return binary.rsplit("-", 1)[-1]


def server_id(layout: Layout, token: str, name: str) -> str:
    """The id of the server with this name or id."""
    listed = get(layout, "/v2.1/servers?all_tenants=1", token)["servers"]
    found = [server["id"] for server in listed if name in (server["id"], server["name"])]
    if len(found) != 1:
        raise LabError(f"{len(found)} servers are called {name!r}")
    return str(found[0])
