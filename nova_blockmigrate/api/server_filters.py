"""The query parameters of a list of servers as conditions."""

from __future__ import annotations

import datetime
import re
from typing import Any

from nova_blockmigrate import exceptions, policies
from nova_blockmigrate.api.request import Request
from nova_blockmigrate.api.schemas import server_filters as schemas
from nova_blockmigrate.api.views import servers as views
from nova_blockmigrate.db.queries import server_lists

_COLUMNS = {
    "access_ip_v4": "access_ip_v4",
    "access_ip_v6": "access_ip_v6",
    "availability_zone": "availability_zone",
    "description": "description",
    "display_description": "description",
    "host": "host",
    "hostname": "hostname",
    "image": "image_id",
    "image_ref": "image_id",
    "key_name": "key_name",
    "node": "node",
    "reservation_id": "reservation_id",
    "task_state": "task_state",
    "user_id": "user_id",
    "uuid": "uuid",
    "vm_state": "vm_state",
}
_NUMBERS = {"power_state": "power_state", "progress": "progress"}
_TIMES = {"created_at": "created_at", "launched_at": "launched_at", "terminated_at": "terminated_at"}
_NEVER = server_lists.Filters(states=())
_CONSTANT = {"config_drive": "", "launch_index": "0", "kernel_id": "", "ramdisk_id": "", "root_device_name": "/dev/vda"}
"""What no server of ours differs in."""


class DeletedForbidden(exceptions.Forbidden):
    template = "Only administrators may list deleted instances"


def filters(request: Request, all_tenants_rule: str) -> server_lists.Filters:
    """
    :raises exceptions.ValidationError:
    :raises exceptions.Forbidden: all tenants are asked for by who may not.
    """
    asked = _Asked(request)
    if any(asked.text(name) not in (None, value) for name, value in _CONSTANT.items()):
        return _NEVER
    asked.refuse_joined()
    since, before = asked.changes()
    project_id, user_id = _owner(request, all_tenants_rule)
    return server_lists.Filters(
        project_id=project_id,
        deleted=_deleted(request, asked, since is not None or before is not None),
        states=_states(request, asked),
        name=_expression(asked.text("name") or asked.text("display_name")),
        ip=_expression(asked.text("ip")),
        ip6=_expression(asked.text("ip6")),
        flavor=asked.text("flavor"),
        changed_since=since,
        changed_before=before,
        tags=asked.words("tags"),
        tags_any=asked.words("tags-any"),
        not_tags=asked.words("not-tags"),
        not_tags_any=asked.words("not-tags-any"),
        equal=(*asked.equal(), *([] if user_id is None else [("user_id", user_id)])),
    )


class _Asked:
    """The parameters that count: those that the caller may use, in this microversion."""

    def __init__(self, request: Request) -> None:
        self._query, self._minor = request.query, request.microversion
        everything = request.can(policies.SERVERS_ALL_FILTERS)
        allowed = schemas.FOR_ALL.at(request.microversion)
        self._names = {name for name in request.query.names() if everything or name in allowed}

    def _there(self, name: str) -> bool:
        return name in self._names and self._minor >= schemas.SINCE.get(name, 1)

    def text(self, name: str) -> str | None:
        return self._query.text(name) if self._there(name) else None

    def texts(self, name: str) -> list[str] | None:
        return self._query.texts(name) if self._there(name) else None

    def changes(self) -> tuple[datetime.datetime | None, datetime.datetime | None]:
        return self._query.changes(self._there("changes-since"), self._there("changes-before"))

    def refuse_joined(self) -> None:
        """
        :raises exceptions.ValidationError:
        """
        for name in sorted(self._names & schemas.JOINED):
            raise exceptions.ValidationError(detail=f"servers cannot be filtered by {name}")

    def words(self, name: str) -> tuple[str, ...]:
        return tuple(word for word in (self.text(name) or "").split(",") if word)

    def equal(self) -> list[tuple[str, Any]]:
        found: list[tuple[str, Any]] = [(column, self.text(name)) for name, column in _COLUMNS.items() if self._there(name)]
        found += [(column, self._query.integer(name)) for name, column in _NUMBERS.items() if self._there(name)]
        found += [(column, self._query.time(name)) for name, column in _TIMES.items() if self._there(name)]
        if self._there("locked"):
            found.append(("locked", self._query.boolean("locked")))
        return found


def _states(request: Request, asked: _Asked) -> tuple[server_lists.State, ...] | None:
    wanted = asked.texts("status")
    if wanted is None:
        return None
    found: list[server_lists.State] = []
    for status in wanted:
        states = views.states_of(status)
        if not states and request.microversion >= 38 and status.upper() not in views.STATUSES_OF_NOVA:
            raise exceptions.ValidationError(detail=f"status {status!r}: there is no such status")
        found += states
    return tuple(found)


def _owner(request: Request, all_tenants_rule: str) -> tuple[str | None, str | None]:
    """Whose servers are listed, project and user: the caller's, unless it may see all and asks for them. A caller without a
    project (its token is for a domain, say) has those of its user."""
    if request.query.boolean("all_tenants"):
        request.authorize(all_tenants_rule)
        return request.query.text("project_id") or request.query.text("tenant_id"), None
    if request.context.project_id:
        return request.context.project_id, None
    return None, request.context.user_id or ""


def _deleted(request: Request, asked: _Asked, changed: bool) -> bool | None:
    """Deleted servers are shown to those who ask what changed, and to admins who ask for them.

    :raises DeletedForbidden: another one asks for them.
    """
    if {status.upper() for status in asked.texts("status") or ()} == {"DELETED"}:
        if not request.context.is_admin:
            raise DeletedForbidden()
        return True
    if request.context.is_admin and "deleted" in request.query:
        return request.query.boolean("deleted")
    return None if changed else False


def _expression(text: str | None) -> str | None:
    try:
        re.compile(text or "")
    except (re.error, RecursionError, OverflowError) as error:
        raise exceptions.ValidationError(detail=f"{text!r} is not a regular expression: {error}") from error
    return text
