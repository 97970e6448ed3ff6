"""What a handler gets, and what it may answer with."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from oslo_config import cfg
from oslo_policy import policy
from oslo_utils import strutils, timeutils

from nova_blockmigrate import exceptions
from nova_blockmigrate.conductor.rpcapi import ConductorAPI
from nova_blockmigrate.context import RequestContext

if TYPE_CHECKING:
    from nova_blockmigrate.api.image_catalogue import ImageCatalogue


@dataclasses.dataclass(frozen=True)
class Deployment:
    """What all requests share."""

    conf: cfg.ConfigOpts
    conductor: ConductorAPI
    enforcer: policy.Enforcer
    images: ImageCatalogue


class Query:
    """The parameters of the URL. Each getter checks its form."""

    def __init__(self, values: Mapping[str, list[str]]) -> None:
        self._values = values

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def names(self) -> Iterable[str]:
        return self._values.keys()

    def texts(self, name: str) -> list[str]:
        return self._values.get(name, [])

    def text(self, name: str) -> str | None:
        """The last value given."""
        return self._values[name][-1] if self._values.get(name) else None

    def boolean(self, name: str) -> bool | None:
        text = self.text(name)
        if text is None:
            return None
        try:
            return True if text == "" else strutils.bool_from_string(text, strict=True)
        except ValueError as error:
            raise exceptions.ValidationError(detail=f"query parameter {name}: {error}") from error

    def integer(self, name: str, minimum: int = 0) -> int | None:
        text = self.text(name)
        if text is None:
            return None
        if not text.isascii() or not text.isdigit() or int(text) < minimum:
            raise exceptions.ValidationError(detail=f"query parameter {name}: {text!r} is not a number of at least {minimum}")
        return int(text)

    def time(self, name: str) -> datetime.datetime | None:
        """An ISO 8601 time as UTC."""
        text = self.text(name)
        if text is None:
            return None
        try:
            return timeutils.normalize_time(timeutils.parse_isotime(text.replace(" ", "+")))
        except ValueError as error:
            raise exceptions.ValidationError(detail=f"query parameter {name}: {text!r} is not an ISO 8601 time") from error


@dataclasses.dataclass(frozen=True)
class Request:
    """A request that was authenticated, authorised for its route, and validated."""

    context: RequestContext
    microversion: int
    """The N of 2.N."""
    body: Any
    """The JSON document; for an action, what stands under the action's name."""
    query: Query
    base_url: str
    """Scheme, host and port, as the client sees them."""
    path: str
    deployment: Deployment

    @property
    def conf(self) -> cfg.ConfigOpts:
        return self.deployment.conf

    @property
    def conductor(self) -> ConductorAPI:
        return self.deployment.conductor

    def can(self, rule: str, target: Mapping[str, Any] | None = None) -> bool:
        """Whether the policy allows `rule`, for the caller's own project unless a target is given."""
        wanted = target or {"project_id": self.context.project_id, "user_id": self.context.user_id}
        allowed: bool = self.deployment.enforcer.authorize(rule, wanted, self.context)
        return allowed

    def authorize(self, rule: str, target: Mapping[str, Any] | None = None) -> None:
        """
        :raises exceptions.Forbidden:
        """
        if not self.can(rule, target):
            raise exceptions.Forbidden(action=rule)


@dataclasses.dataclass(frozen=True)
class Response:
    """An answer with headers of its own."""

    body: Any
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)
    status: int | None = None
