"""What is told of services."""

from __future__ import annotations

from nova_blockmigrate.context import RequestContext
from nova_blockmigrate.db.models import Service
from nova_blockmigrate.notifications import payloads, sending


def changed(context: RequestContext, service: Service, event: str) -> None:
    """`event`: create, update or delete. A sign of life is none of them."""
    if sending.is_on():
        sending.emit(context, f"{service.binary}:{service.host}", f"service.{event}", payloads.service_status(service))
