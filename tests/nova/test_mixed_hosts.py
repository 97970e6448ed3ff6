"""One host with our driver and one with Nova's: servers move both ways."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from cloud import DESTINATION, SOURCE, Cloud


@pytest.fixture
def mixed(cloud: Cloud) -> Iterator[Cloud]:
    """The first host has our driver, the second Nova's."""
    cloud.use_driver(DESTINATION, "nova")
    try:
        yield cloud
    finally:
        cloud.use_driver(DESTINATION, "ours")


def test_there_and_back(mixed: Cloud) -> None:
    server = mixed.boot()
    for source, destination in ((SOURCE, DESTINATION), (DESTINATION, SOURCE)):
        mixed.migrate(server, destination)
        mixed.wait_for(server.id, "ACTIVE")
        mixed.expect_moved(server, mixed.migration(server), source=source, destination=destination)


def test_abort_on_the_way_to_a_host_with_novas_driver(mixed: Cloud) -> None:
    server = mixed.boot()
    migration = mixed.copy_slowly(server)

    mixed.abort(server, migration)

    mixed.expect_stayed(server, migration, "cancelled")
