"""The cloud of these tests, with what they expect of it."""

from __future__ import annotations

from typing import Any

from labkit import scenario
from labkit.commands import wait_until
from novakit import cloud as base
from novakit.cloud import DESTINATION, HOSTS, PATIENCE_S, SOURCE, Server

__all__ = ["DESTINATION", "HOSTS", "PATIENCE_S", "SOURCE", "Cloud", "Server"]


class Cloud(base.Cloud):
    def expect_moved(self, server: Server, migration: dict[str, Any], source: str = SOURCE, destination: str = DESTINATION) -> None:
        self.wait_for(server.id, "ACTIVE")
        assert self.show(server)[scenario.HOST] == destination
        wait_until(lambda: self.migration(server)["status"] == "completed", PATIENCE_S, "migration is completed", interval_s=0.5)
        assert self.domain(server, destination) == "running"
        self._expect_clean(server, migration, destination, source)
        self.expect_writing(server, destination)

    def expect_writing(self, server: Server, host: str) -> None:
        """The guest goes on: it writes further records."""
        last = self.records(server, host).last
        wait_until(lambda: self.records(server, host).last > last, PATIENCE_S, "the guest writes on", interval_s=1)

    def expect_stayed(self, server: Server, migration: dict[str, Any], ended_as: str, status: str = "ACTIVE") -> None:
        self.wait_for(server.id, status)
        assert self.show(server)[scenario.HOST] == SOURCE
        assert self.domain(server, SOURCE) == ("running" if status == "ACTIVE" else "shut off")
        wait_until(lambda: self.migration(server)["status"] == ended_as, PATIENCE_S, f"migration is {ended_as}", interval_s=0.5)
        assert self.reasons(server)
        self._expect_clean(server, migration, SOURCE, DESTINATION)

    def _expect_clean(self, server: Server, migration: dict[str, Any], home: str, other: str) -> None:
        wait_until(
            lambda: not self.leftovers(server.id, other), PATIENCE_S, f"nothing of {server.name} is left on {other}", interval_s=1
        )
        wait_until(lambda: not self.allocations(migration["uuid"]), 60, "placement keeps nothing for the migration", interval_s=1)
        assert set(self.allocations(server.id)) == {self.provider(home)}
        verdict = self.settled_records(server, home)
        assert verdict.is_whole, verdict

    def expect_nothing_left(self) -> None:
        for server in self._servers:
            for host in HOSTS:

                def clean(server: Server = server, host: str = host) -> bool:
                    return not self.leftovers(server.id, host)

                wait_until(clean, PATIENCE_S, f"nothing of {server.name} is left on {host}", interval_s=1)
