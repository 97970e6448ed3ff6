"""os-quota-sets and os-quota-class-sets: what projects may have."""

from __future__ import annotations

from typing import Any

from sqlalchemy import orm

from nova_blockmigrate import exceptions, policies
from nova_blockmigrate.api import quota
from nova_blockmigrate.api.request import Request
from nova_blockmigrate.api.routes import route
from nova_blockmigrate.api.schemas import quota_sets as schemas
from nova_blockmigrate.db import session
from nova_blockmigrate.db.queries import quotas

_ONE = "/os-quota-sets/{project_id}"
_CLASS = "/os-quota-class-sets/{class_name}"
_DEFAULT_CLASS = "default"


class OnlyDefaultClass(exceptions.Invalid):
    template = "There is no quota class {name}: the class 'default' holds for every project that has no limits of its own."


class LimitBelowUse(exceptions.Invalid):
    template = "Quota limit {limit} for {resource} must be greater than or equal to already used {used}; or say force."


@route("GET", _ONE, policy=policies.QUOTAS_SHOW, query=schemas.USER)
def show(request: Request, project_id: str) -> dict[str, Any]:
    request.authorize(policies.QUOTAS_SHOW, {"project_id": project_id})
    with session.reader() as db:
        return {"quota_set": {"id": project_id} | _shown(request, quota.of(request, db, project_id).limits)}


@route("GET", _ONE + "/detail", policy=policies.QUOTAS_SHOW, query=schemas.USER)
def detail(request: Request, project_id: str) -> dict[str, Any]:
    request.authorize(policies.QUOTAS_SHOW, {"project_id": project_id})
    with session.reader() as db:
        used = quota.used(db, project_id)
        limits = _shown(request, quota.of(request, db, project_id).limits)
    each = {name: {"limit": limit, "in_use": used.get(name, 0), "reserved": 0} for name, limit in limits.items()}
    return {"quota_set": {"id": project_id} | each}


@route("GET", _ONE + "/defaults", policy=policies.QUOTAS_DEFAULTS)
def defaults(request: Request, project_id: str) -> dict[str, Any]:
    with session.reader() as db:
        return {"quota_set": {"id": project_id} | _shown(request, quota.defaults(request.conf, db))}


@route("PUT", _ONE, policy=policies.QUOTAS_UPDATE, body=schemas.UPDATE, query=schemas.USER)
def update(request: Request, project_id: str) -> dict[str, Any]:
    wanted = {name: int(limit) for name, limit in request.body["quota_set"].items() if name in quota.RESOURCES}
    with session.writer() as db:
        if not schemas.truth(request.body["quota_set"].get("force", False)):
            _refuse_below_use(db, project_id, wanted)
        quotas.change(db, project_id, wanted)
        return {"quota_set": _shown(request, quota.of(request, db, project_id).limits)}


@route("DELETE", _ONE, policy=policies.QUOTAS_DELETE, status=202, query=schemas.USER)
def delete(request: Request, project_id: str) -> None:
    with session.writer() as db:
        quotas.forget(db, project_id)


@route("GET", _CLASS, policy=policies.QUOTA_CLASS_SHOW)
def show_class(request: Request, class_name: str) -> dict[str, Any]:
    with session.reader() as db:
        return {"quota_class_set": {"id": class_name} | _shown_class(request, quota.defaults(request.conf, db))}


@route("PUT", _CLASS, policy=policies.QUOTA_CLASS_UPDATE, body=schemas.UPDATE_CLASS)
def update_class(request: Request, class_name: str) -> dict[str, Any]:
    if class_name != _DEFAULT_CLASS:
        raise OnlyDefaultClass(name=class_name)
    wanted = {name: int(limit) for name, limit in request.body["quota_class_set"].items() if name in quota.RESOURCES}
    with session.writer() as db:
        quotas.change(db, quotas.DEFAULTS, wanted)
        return {"quota_class_set": _shown_class(request, quota.defaults(request.conf, db))}


def _shown(request: Request, limits: Any) -> dict[str, int]:
    """Limits as the microversion has them; what is not counted here is not limited."""
    return {name: limits.get(name, quota.UNLIMITED) for name in schemas.names(request.microversion)}


def _shown_class(request: Request, limits: Any) -> dict[str, int]:
    return {name: limits.get(name, quota.UNLIMITED) for name in schemas.class_names(request.microversion)}


def _refuse_below_use(db: orm.Session, project_id: str, wanted: dict[str, int]) -> None:
    used = quota.used(db, project_id)
    for name, limit in wanted.items():
        if quota.UNLIMITED < limit < used[name]:
            raise LimitBelowUse(limit=limit, resource=name, used=used[name])
