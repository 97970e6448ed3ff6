"""os-keypairs: the public keys of users. Those of others are for administrators (2.10)."""

from __future__ import annotations

from typing import Any

from nova_blockmigrate import exceptions, policies
from nova_blockmigrate.api import keys, paging, quota
from nova_blockmigrate.api.request import Request, Response
from nova_blockmigrate.api.routes import route
from nova_blockmigrate.api.schemas import key_pairs as schemas
from nova_blockmigrate.api.views.times import precise
from nova_blockmigrate.db import session
from nova_blockmigrate.db.project_models import KeyPair
from nova_blockmigrate.db.queries import key_pairs

_ONE = "/os-keypairs/{name}"


@route("GET", "/os-keypairs", policy=policies.KEYPAIRS_INDEX, query=schemas.LIST)
def index(request: Request) -> dict[str, Any]:
    user, paged = _user(request, request.query.text("user_id"), policies.KEYPAIRS_INDEX), request.microversion >= 35
    limit = paging.limit(request) + 1 if paged else None
    with session.reader() as db:
        found = key_pairs.search(db, user, limit, request.query.text("marker") if paged else None)
    shown, links = paging.links(request, "keypairs_links", found, lambda pair: pair.name) if paged else (found, {})
    return {"keypairs": [{"keypair": _brief(request, pair)} for pair in shown]} | links


@route("GET", _ONE, policy=policies.KEYPAIRS_SHOW, query=schemas.ONE)
def show(request: Request, name: str) -> dict[str, Any]:
    user = _user(request, request.query.text("user_id"), policies.KEYPAIRS_SHOW)
    with session.reader() as db:
        pair = key_pairs.get(db, user, name)
    shown = _brief(request, pair) | {"id": pair.id, "user_id": pair.user_id, "deleted": False, "deleted_at": None}
    return {"keypair": shown | {"created_at": precise(pair.created_at), "updated_at": precise(pair.updated_at)}}


@route("POST", "/os-keypairs", policy=policies.KEYPAIRS_CREATE, body=schemas.CREATE)
def create(request: Request) -> Response:
    """Below 2.92 a pair is generated when no public key is given; its private half is told once, and kept nowhere."""
    wanted = request.body["keypair"]
    user = _user(request, wanted.get("user_id"), policies.KEYPAIRS_CREATE)
    kind, name = wanted.get("type", keys.SSH), wanted["name"].strip()
    private = None
    if "public_key" in wanted:
        public = wanted["public_key"]
    else:
        private, public = keys.generate(kind, user)
    fingerprint = keys.fingerprint(kind, public)
    with session.writer() as db:
        quota.of(request, db, request.context.project_id or "").check("key_pairs", key_pairs.count(db, user), 1)
        pair = key_pairs.create(db, user_id=user, name=name, type=kind, fingerprint=fingerprint, public_key=public)
    shown = _brief(request, pair) | {"user_id": user} | ({"private_key": private} if private else {})
    return Response({"keypair": shown}, status=201 if request.microversion >= 2 else 200)


@route("DELETE", _ONE, policy=policies.KEYPAIRS_DELETE, status=204, query=schemas.ONE)
def delete(request: Request, name: str) -> Response:
    user = _user(request, request.query.text("user_id"), policies.KEYPAIRS_DELETE)
    with session.writer() as db:
        key_pairs.delete(db, user, name)
    return Response(None, status=204 if request.microversion >= 2 else 202)


def _user(request: Request, asked: str | None, rule: str) -> str:
    """Whose keys are meant.

    :raises exceptions.Forbidden: those of another user, and the policy does not allow it.
    """
    own = request.context.user_id or ""
    user = asked if asked is not None and request.microversion >= 10 else own
    if user != own and not request.can(rule, {"user_id": user}):
        raise exceptions.Forbidden(action=rule)
    return user


def _brief(request: Request, pair: KeyPair) -> dict[str, Any]:
    shown: dict[str, Any] = {"name": pair.name, "public_key": pair.public_key, "fingerprint": pair.fingerprint}
    return shown | {"type": pair.type} if request.microversion >= 2 else shown
