"""A source's nova-compute that dies when the migration has not come to a transfer: all is undone when it is back."""

from __future__ import annotations

from cloud import Cloud

from labkit import scenario
from novakit import cases


def test_killed_while_queued(cloud: Cloud) -> None:
    server = cloud.boot()

    migration = cases.source_compute_killed_while_queued(cloud, server)

    cloud.expect_stayed(server, migration, "failed")
    assert cloud.show(server)[scenario.HOST] == cases.SOURCE


def test_killed_while_the_destination_prepares(cloud: Cloud) -> None:
    server = cloud.boot()

    migration = cases.source_compute_killed_while_preparing(cloud, server)

    cloud.expect_stayed(server, migration, "failed")
    assert "had begun" in cloud.reasons(server)
