"""Who may use a flavor that is not public, and the extra specs of flavors."""

from __future__ import annotations

from typing import Any

from nova_blockmigrate import exceptions, policies
from nova_blockmigrate.api.request import Request
from nova_blockmigrate.api.routes import action, route
from nova_blockmigrate.api.schemas import flavors as schemas
from nova_blockmigrate.db import session
from nova_blockmigrate.db.queries import flavor_access, flavors

_FLAVOR = "/flavors/{flavor_id}"
_ACTION = _FLAVOR + "/action"
_SPECS, _SPEC = _FLAVOR + "/os-extra_specs", _FLAVOR + "/os-extra_specs/{key}"


class PublicFlavor(exceptions.NotFound):
    template = "Access list not available for public flavors."


class AccessToPublicFlavor(exceptions.Conflict):
    template = "Can not add access to a public flavor."


class ExtraSpecNotFound(exceptions.NotFound):
    template = "Flavor {flavor} has no extra specs with key {key}."


class OtherKey(exceptions.Invalid):
    template = "Request body and URI mismatch: the body must have the one key {key}"


@route("GET", _FLAVOR + "/os-flavor-access", policy=policies.FLAVOR_ACCESS)
def index(request: Request, flavor_id: str) -> dict[str, Any]:
    with session.reader() as db:
        flavor = flavors.get(db, flavor_id)
        if flavor.is_public:
            raise PublicFlavor()
        return _view(flavor_id, flavor_access.projects(db, flavor))


@action("addTenantAccess", path=_ACTION, status=200, policy=policies.FLAVOR_ACCESS_ADD, body=schemas.ADD_ACCESS)
def add(request: Request, flavor_id: str) -> dict[str, Any]:
    with session.writer() as db:
        flavor = flavors.get(db, flavor_id)
        if flavor.is_public and request.microversion >= 7:
            raise AccessToPublicFlavor()
        flavor_access.add(db, flavor, request.body["tenant"])
        return _view(flavor_id, flavor_access.projects(db, flavor))


@action("removeTenantAccess", path=_ACTION, status=200, policy=policies.FLAVOR_ACCESS_REMOVE, body=schemas.REMOVE_ACCESS)
def remove(request: Request, flavor_id: str) -> dict[str, Any]:
    with session.writer() as db:
        flavor = flavors.get(db, flavor_id)
        flavor_access.remove(db, flavor, request.body["tenant"])
        return _view(flavor_id, flavor_access.projects(db, flavor))


@route("GET", _SPECS, policy=policies.EXTRA_SPECS_INDEX)
def specs(request: Request, flavor_id: str) -> dict[str, Any]:
    with session.reader() as db:
        return {"extra_specs": flavor_access.visible(db, request.context, flavor_id).extra_specs}


@route("GET", _SPEC, policy=policies.EXTRA_SPECS_SHOW)
def spec(request: Request, flavor_id: str, key: str) -> dict[str, Any]:
    with session.reader() as db:
        return {key: _value(flavor_access.visible(db, request.context, flavor_id).extra_specs, flavor_id, key)}


@route("POST", _SPECS, policy=policies.EXTRA_SPECS_CREATE, body=schemas.EXTRA_SPECS)
def create_specs(request: Request, flavor_id: str) -> dict[str, Any]:
    wanted = _texts(request.body["extra_specs"])
    with session.writer() as db:
        flavors.update(db, flavor_id, extra_specs={**flavors.get(db, flavor_id).extra_specs, **wanted})
    return {"extra_specs": wanted}


@route("PUT", _SPEC, policy=policies.EXTRA_SPECS_UPDATE, body=schemas.EXTRA_SPEC)
def update_spec(request: Request, flavor_id: str, key: str) -> dict[str, Any]:
    if list(request.body) != [key]:
        raise OtherKey(key=key)
    wanted = _texts(request.body)
    with session.writer() as db:
        flavors.update(db, flavor_id, extra_specs={**flavors.get(db, flavor_id).extra_specs, **wanted})
    return wanted


@route("DELETE", _SPEC, policy=policies.EXTRA_SPECS_DELETE)
def delete_spec(request: Request, flavor_id: str, key: str) -> None:
    with session.writer() as db:
        there = flavors.get(db, flavor_id).extra_specs
        _value(there, flavor_id, key)
        flavors.update(db, flavor_id, extra_specs={name: value for name, value in there.items() if name != key})


def _texts(specs: dict[str, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in specs.items()}


def _value(specs: dict[str, Any], flavor_id: str, key: str) -> Any:
    if key not in specs:
        raise ExtraSpecNotFound(flavor=flavor_id, key=key)
    return specs[key]


def _view(flavor_id: str, projects: list[str]) -> dict[str, Any]:
    return {"flavor_access": [{"flavor_id": flavor_id, "tenant_id": project} for project in projects]}
