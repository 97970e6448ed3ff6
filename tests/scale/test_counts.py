"""What a migration and a page of a list cost does not depend on how many there are: counted, not timed."""

from __future__ import annotations

import pytest

from benchkit import scale

SIZES = scale.Sizes(hosts=8, servers=120, migrations=80, clients=4)
MOST_QUERIES, MOST_MESSAGES = 80, 18
"""For one migration, with the request for it (doc/scale.rst); its copying takes less than a poll."""


@pytest.mark.timeout(900)
def test_a_migration_costs_the_same_among_few_and_among_many() -> None:
    with scale.crowd_of(SIZES) as crowd:
        few = scale.migrate(crowd, 0, 8)
        many = scale.migrate(crowd, 8, 72)
        servers = scale.measure_pages(crowd, "/servers/detail", "servers", SIZES.servers)
        migrations = scale.measure_pages(crowd, "/os-migrations", "migrations", 80)
    assert (few.failed, many.failed) == (0, 0)
    assert (few.done, many.done) == (8, 72)
    assert many.queries <= MOST_QUERIES and few.queries <= MOST_QUERIES
    assert many.messages <= MOST_MESSAGES and few.messages <= MOST_MESSAGES
    for pages in (servers, migrations):
        # (the first page has no marker to look up)
        assert pages["middle"]["queries"] == pages["last"]["queries"] <= pages["first"]["queries"] + 3
