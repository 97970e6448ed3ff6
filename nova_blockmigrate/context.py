"""Who asks for what: the request context, and how it travels."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from oslo_context import context as oslo_context


class RequestContext(oslo_context.RequestContext):
    """oslo's context (user, project, roles, request id, global request id) as our services pass it on.

    Log lines of a thread name the request that `update_store` was called for last. With `overwrite=False` a new context leaves that
    alone, also where there is none yet: oslo's would stand there for whatever the thread does later.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._is_new = not kwargs.get("overwrite", True)
        super().__init__(*args, **kwargs)
        self._is_new = False

    def update_store(self) -> None:
        if not self._is_new:
            super().update_store()

    @classmethod
    def from_dict(cls, values: dict[str, Any], **kwargs: Any) -> RequestContext:
        context: RequestContext = super().from_dict(values, **kwargs)
        return context


def service_context(request_id: str | None = None, global_request_id: str | None = None) -> RequestContext:
    """The context of what a service does by itself, or goes on doing for an earlier request."""
    return RequestContext(
        is_admin=True, roles=["admin"], request_id=request_id, global_request_id=global_request_id, overwrite=False
    )


@contextlib.contextmanager
def logged_for(context: RequestContext) -> Iterator[None]:
    """What is logged in the block, and by threads that it starts, names the request of `context`; not what comes after."""
    before = oslo_context.get_current()
    if before is None:
        before = RequestContext(overwrite=False)
        before.request_id = ""
    context.update_store()
    try:
        yield
    finally:
        before.update_store()
