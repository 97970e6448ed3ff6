"""What a handler gets, and what it may answer with."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from oslo_config import cfg
from oslo_policy import policy

from nova_blockmigrate import exceptions
from nova_blockmigrate.api.image_catalogue import ImageCatalogue
from nova_blockmigrate.api.query import Query
from nova_blockmigrate.conductor.rpcapi import ConductorAPI
from nova_blockmigrate.context import RequestContext
from nova_blockmigrate.network.backend import NetworkBackend


@dataclasses.dataclass(frozen=True)
class Deployment:
    """What all requests share."""

    conf: cfg.ConfigOpts
    conductor: ConductorAPI
    enforcer: policy.Enforcer
    images: ImageCatalogue
    network: NetworkBackend
    """Asked about what it owns; where it owns ports, these are not in our database."""


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
