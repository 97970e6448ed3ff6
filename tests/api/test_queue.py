"""Migrations that wait for a slot, while the conductor that runs them is stopped and started again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from client import Product, wait_until

Boot = Callable[..., str]


def test_a_drain_lets_transfers_go_on_and_starts_nothing_and_the_queue_keeps_its_order(product: Product, boot: Boot) -> None:
    running, *waiting = [boot("compute1") for _ in range(4)]
    product.control("hold", host="compute1", point="live_migration")
    product.migrate(running, "compute2")
    product.control("wait_reached", host="compute1", point="live_migration")
    for uuid in waiting:
        product.migrate(uuid, "compute2")
    for uuid in waiting:
        product.wait_migration(uuid, "queued")
    first, second, urgent = waiting

    product.control("stop_conductor")
    _put_first(product, urgent)
    product.control("release", host="compute1", point="live_migration")
    wait_until(lambda: product.control("where", uuid=running).get("compute2") == "running", "the transfer goes on to its end")
    assert [_row(product, uuid)["status"] for uuid in (running, *waiting)] == ["running", "queued", "queued", "queued"]
    assert all(product.control("where", uuid=uuid) == {"compute1": "running"} for uuid in waiting)

    product.control("start_conductor")
    for uuid in (running, *waiting):
        product.wait_active(uuid, "compute2")
        product.wait_migration(uuid, "completed")
    prepared = sorted(waiting, key=lambda uuid: _prepared_at(product, uuid))
    assert prepared == [urgent, first, second]


def _put_first(product: Product, uuid: str) -> None:
    engine = sa.create_engine(product.database)
    with engine.begin() as db:
        db.execute(sa.text("UPDATE migrations SET priority = 5 WHERE instance_uuid = :uuid"), {"uuid": uuid})
    engine.dispose()


def _row(product: Product, uuid: str) -> dict[str, Any]:
    return product.rows(uuid)["migrations"][-1]


def _prepared_at(product: Product, uuid: str) -> str:
    """When its step after the queue began."""
    request_id = _row(product, uuid)["request_id"]
    action = product.request("GET", f"/servers/{uuid}/os-instance-actions/{request_id}").body["instanceAction"]
    return str(next(event["start_time"] for event in action["events"] if event["event"] == "compute_pre_live_migration"))
