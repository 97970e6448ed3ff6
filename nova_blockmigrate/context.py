"""Who asks for what: the request context, and how it travels."""

from __future__ import annotations

from typing import Any

from oslo_context import context as oslo_context


class RequestContext(oslo_context.RequestContext):
    """oslo's context (user, project, roles, request id, global request id) as our services pass it on."""

    @classmethod
    def from_dict(cls, values: dict[str, Any], **kwargs: Any) -> RequestContext:
        context: RequestContext = super().from_dict(values, **kwargs)
        return context


def service_context(request_id: str | None = None, global_request_id: str | None = None) -> RequestContext:
    """The context of what a service does by itself, or goes on doing for an earlier request."""
    return RequestContext(
        is_admin=True, roles=["admin"], request_id=request_id, global_request_id=global_request_id, overwrite=False
    )
