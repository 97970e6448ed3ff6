"""A source's service that dies before the transfer of a live migration has begun: it is ended when that service is back.

With Nova's own services, database and placement in this process, and its fake libvirt (`tools/test nova-own`).
"""

import threading
from typing import Any
from unittest import mock

from nova import context as nova_context
from nova import objects
from nova.compute import task_states
from nova.compute.rpcapi import ComputeAPI
from nova.tests.functional import integrated_helpers
from nova.tests.functional.libvirt import base as libvirt_base


class Died(BaseException):
    """The thread ends here, as if the process had: nothing that handles errors runs."""


class TestServiceThatDiedBeforeTheTransfer(
    libvirt_base.LibvirtMigrationMixin, libvirt_base.ServersTestBase, integrated_helpers.InstanceHelperMixin
):
    microversion = "2.84"
    ADMIN_API = True

    def setUp(self) -> None:
        super().setUp()
        self.flags(max_concurrent_live_migrations=1)
        self.start_compute(hostname="src")
        self.start_compute(hostname="dest")
        self.src, self.dest = self.computes["src"], self.computes["dest"]
        self.server = self._create_server(host="src", networks="none")
        self.home = self._get_provider_uuid_by_name("src")

    # --- what happens -----------------------------------------------------------------------------------------------

    def die_preparing(self, after: bool = True) -> None:
        """The source dies when the destination is to prepare: before it was asked, or when it has."""
        original = ComputeAPI.pre_live_migration

        def prepare(*arguments: Any, **more: Any) -> None:
            if after:
                original(*arguments, **more)
            raise Died

        with mock.patch.object(ComputeAPI, "pre_live_migration", prepare):
            self._live_migrate(self.server, "preparing", "MIGRATING")
            self.wait_for_thread()

    def die_queued(self) -> None:
        with mock.patch.object(type(self.src.manager), "_do_live_migration", mock.Mock(side_effect=Died)):
            self._live_migrate(self.server, "queued", "MIGRATING")
            self.wait_for_thread()

    def wait_for_thread(self) -> None:
        for _migration, future in list(self.src.manager._waiting_live_migrations.values()):
            if future is not None:
                assert isinstance(future.exception(timeout=30), Died)

    def restart(self, name: str = "src") -> None:
        self.restart_compute_service(name)
        self.src = self.computes["src"]

    # --- what is expected -------------------------------------------------------------------------------------------

    def migration(self) -> Any:
        (found,) = objects.MigrationList.get_by_filters(nova_context.get_admin_context(), {"instance_uuid": self.server["id"]})
        return found

    def allocated(self, consumer: str) -> set[str]:
        return set(self.placement.get(f"/allocations/{consumer}").body["allocations"])

    def expect_undone(self, status: str = "failed") -> None:
        self._wait_for_state_change(self.server, "ACTIVE")
        self._wait_for_migration_status(self.server, [status])
        server = self.api.get_server(self.server["id"])
        assert server["OS-EXT-SRV-ATTR:host"] == "src"
        assert self.allocated(self.server["id"]) == {self.home}
        assert self.allocated(self.migration().uuid) == set()

    def reasons(self) -> str:
        actions = self.api.get_instance_actions(self.server["id"])
        requests = [action["request_id"] for action in actions if action["action"] == "live-migration"]
        shown = [self.api.api_get(f"/servers/{self.server['id']}/os-instance-actions/{one}") for one in requests]
        return str([event["details"] for one in shown for event in one.body["instanceAction"]["events"] if event.get("details")])

    # --- tests ------------------------------------------------------------------------------------------------------

    def test_prepared(self) -> None:
        self.die_preparing()
        self.restart()
        self.expect_undone()
        assert "had begun" in self.reasons()

    def test_destination_is_told_to_remove_what_it_made(self) -> None:
        driver, told = type(self.src.driver), threading.Event()
        asked = mock.Mock(side_effect=lambda *_, **__: told.set())
        with (
            mock.patch.object(driver, "_check_shared_storage_test_file", return_value=False),
            mock.patch.object(driver, "get_instance_disk_info", return_value="[]"),
            mock.patch.object(self.dest.driver, "rollback_live_migration_at_destination", asked),
        ):
            self.die_preparing(after=False)
            self.restart()
            self.expect_undone()
            assert told.wait(30)
        assert asked.call_args.kwargs["destroy_disks"] is True
        assert asked.call_args.kwargs["migrate_data"].is_shared_instance_path is False

    def test_destination_was_not_asked_yet(self) -> None:
        self.die_preparing(after=False)
        self.restart()
        self.expect_undone()

    def test_queued(self) -> None:
        self.die_queued()
        self.restart()
        self.expect_undone()

    def test_it_can_migrate_afterwards(self) -> None:
        self.die_preparing()
        self.restart()
        self.expect_undone()
        self._live_migrate(self.server, "completed")
        assert self.api.get_server(self.server["id"])["OS-EXT-SRV-ATTR:host"] == "dest"

    def test_stopped_in_good_order_while_queued(self) -> None:
        self.die_queued()
        migration = self.migration()
        migration.status = "cancelled"  # as Nova's `cleanup_host` does, and no more
        migration.save()
        self.restart()
        self.expect_undone("cancelled")

    def test_what_was_kept_is_lost(self) -> None:
        """Then nobody is told to delete files: they might be shared."""
        self.die_preparing()
        self.src.driver._unbegun.forget(self.server["id"])
        asked = mock.Mock()
        with mock.patch.object(self.dest.driver, "rollback_live_migration_at_destination", asked):
            self.restart()
            self.expect_undone()
        asked.assert_not_called()

    def test_guest_that_libvirt_moves_is_left_to_nova(self) -> None:
        self.die_preparing()
        driver = type(self.src.driver)
        with mock.patch.object(driver, "_is_moving", return_value=True):
            self.restart()
        self._wait_for_state_change(self.server, "ACTIVE")  # Nova resets it, and no more
        assert self.migration().status == "preparing"

    def test_nothing_is_kept_of_one_that_is_over(self) -> None:
        self._live_migrate(self.server, "completed")
        assert not list(self.src.driver._unbegun._folder.iterdir())

    def test_instance_is_not_migrating(self) -> None:
        context = nova_context.get_admin_context()
        instance = objects.Instance.get_by_uuid(context, self.server["id"])
        assert instance.task_state != task_states.MIGRATING
        self.restart()
        assert self.api.get_server(self.server["id"])["status"] == "ACTIVE"
