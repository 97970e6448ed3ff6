"""A source's service that died after the switch: what is left of it is done when that service is back, and nothing of the past is
done again.

With Nova's own services, database and placement in this process, and its fake libvirt (`tools/test nova-own`).
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from nova import context as nova_context
from nova import exception, objects
from nova.tests.functional import integrated_helpers
from nova.tests.functional.libvirt import base as libvirt_base

from nova_blockmigrate.nova_driver.driver import LibvirtDriver
from nova_blockmigrate.nova_driver.ending import Ending
from nova_blockmigrate.nova_driver.leaving import Leaving

PATIENCE_S = 60


class TestSourceThatIsBack(
    libvirt_base.LibvirtMigrationMixin, libvirt_base.ServersTestBase, integrated_helpers.InstanceHelperMixin
):
    microversion = "2.84"
    ADMIN_API = True

    def setUp(self) -> None:
        super().setUp()
        for name in ("src", "dest", "third"):
            self.start_compute(hostname=name)
        self.server = self._create_server(host="src", networks="none")

    # --- what happens -----------------------------------------------------------------------------------------------

    @contextmanager
    def nothing_is_cleaned(self) -> Iterator[None]:
        with mock.patch.object(Leaving, "begin") as begin:
            yield
            self.expect(lambda: begin.called)

    def between(self, source: str, destination: str) -> None:
        """What the fake libvirt moves goes from here to there."""
        self.src, self.dest = self.computes[source], self.computes[destination]

    def move(self, source: str, destination: str) -> None:
        self.between(source, destination)
        self.api.post_server_action(self.server["id"], {"os-migrateLive": {"host": destination, "block_migration": "auto"}})
        self.expect(lambda: self.host() == destination and self.newest().status == "completed")

    def restart_source(self) -> None:
        self.restart_compute_service("src")

    # --- what is seen -----------------------------------------------------------------------------------------------

    def host(self) -> str:
        return str(self.api.get_server(self.server["id"])["OS-EXT-SRV-ATTR:host"])

    def migrations(self) -> list[Any]:
        found = objects.MigrationList.get_by_filters(nova_context.get_admin_context(), {"instance_uuid": self.server["id"]})
        return sorted(found, key=lambda each: int(each.id))

    def newest(self) -> Any:
        return self.migrations()[-1]

    def remembered(self) -> list[Any]:
        return list(self.computes["src"].driver._transfers.remembered())

    def allocated(self, consumer: str) -> set[str]:
        return set(self.placement.get(f"/allocations/{consumer}").body["allocations"])

    def expect(self, condition: Callable[[], Any]) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline, "it did not come to that in time"
            time.sleep(0.1)

    # --- tests ------------------------------------------------------------------------------------------------------

    def test_server_that_has_moved_on_stays_where_it_is(self) -> None:
        with self.nothing_is_cleaned():
            self.move("src", "dest")
        self.move("dest", "third")
        assert self.remembered()

        self.restart_source()

        self.expect(lambda: not self.remembered())
        assert self.host() == "third"
        assert self.allocated(self.server["id"]) == {self._get_provider_uuid_by_name("third")}
        assert [each.status for each in self.migrations()] == ["completed", "completed"]

    def test_server_that_was_recorded_nowhere_is_recorded(self) -> None:
        self.between("src", "dest")
        with mock.patch.object(Ending, "record", side_effect=exception.NovaException("as if it had died")):
            self.api.post_server_action(self.server["id"], {"os-migrateLive": {"host": "dest", "block_migration": "auto"}})
            self.expect(lambda: self.migrations() and self.newest().status == "error")
        context = nova_context.get_admin_context()
        instance = objects.Instance.get_by_uuid(context, self.server["id"])
        assert instance.host == "src"
        migration = self.newest()
        migration.status, instance.vm_state, instance.task_state = "running", "active", "migrating"  # as a dead service leaves it
        migration.save()
        instance.save()

        self.restart_source()

        self.expect(lambda: self.host() == "dest" and self.newest().status == "completed")
        self.expect(lambda: not self.remembered())
        assert self.allocated(self.server["id"]) == {self._get_provider_uuid_by_name("dest")}
        assert self.allocated(migration.uuid) == set()

    def test_server_that_was_deleted_meanwhile_leaves_no_record(self) -> None:
        with self.nothing_is_cleaned():
            self.move("src", "dest")
        self._delete_server(self.server)

        self.restart_source()

        self.expect(lambda: not self.remembered())

    def test_server_that_comes_back_finds_nothing_in_its_way(self) -> None:
        with self.nothing_is_cleaned():
            self.move("src", "dest")
        self.move("dest", "src")
        assert self.remembered() == []
        assert self.host() == "src"

    def test_source_whose_libvirt_is_away_keeps_its_server(self) -> None:
        """It is no error of the server's: all is rolled back."""
        self.between("src", "dest")
        original = LibvirtDriver._transfer

        def transfer(driver: Any, *arguments: Any) -> Any:
            away = exception.HypervisorUnavailable(host="src")
            with mock.patch.object(driver._host, "get_guest", side_effect=away):
                return original(driver, *arguments)

        with mock.patch.object(LibvirtDriver, "_transfer", transfer):
            self.api.post_server_action(self.server["id"], {"os-migrateLive": {"host": "dest", "block_migration": "auto"}})
            self.expect(lambda: self.migrations() and self.newest().status == "failed")
        self.expect(lambda: self.api.get_server(self.server["id"])["status"] == "ACTIVE")
        assert self.host() == "src"
        assert self.allocated(self.newest().uuid) == set()
