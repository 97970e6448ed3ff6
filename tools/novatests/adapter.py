"""Puts our driver where Nova's tests look for Nova's, in this process only.

Nova's fake libvirt knows neither copies that wait nor processes that can be stopped, so where a test has a guest moved, the engine
is stood in for by one call of that fake's `migrateToURI3`. Everything around the engine is real: what Nova asks of its driver, in
which order, and what comes of it in Nova's database and placement.
"""

import contextlib
import os
import tempfile
import threading
from typing import Any

import nova.conf
import nova.virt.libvirt
from nova.compute import manager as compute_manager
from nova.tests.fixtures import conf as conf_fixture
from nova.tests.fixtures import libvirt as fakelibvirt
from nova.virt import fake
from nova.virt.libvirt import driver as nova_driver
from nova.virt.libvirt import host as libvirt_host

from nova_blockmigrate.nova_driver import arrivals, leaving, transfers
from nova_blockmigrate.nova_driver import driver as ours
from nova_blockmigrate.objects import (
    Copy,
    GuestDescription,
    Observation,
    PowerState,
    TransferOutcome,
    Verdict,
)

CONF = nova.conf.CONF
LOOK_INTERVAL_S = 0.05


def put_ours() -> None:
    """From now on Nova's tests get our driver. What it needs of Nova is looked at once: tests replace names while they load it."""
    manager, host = object.__new__(compute_manager.ComputeManager), libvirt_host.Host("qemu:///system")
    ours.names.refuse_unknown_nova(nova_driver.LibvirtDriver, manager, host)
    ours.names.refuse_unknown_nova = lambda *_: None
    nova_driver.LibvirtDriver = nova.virt.libvirt.LibvirtDriver = Driver
    fake.FakeVirtAPI._compute = manager  # the real one leads to the manager, too
    ours.describing.describe = _describe


def give_paths(data_folder: str) -> None:
    """Nova's tests expect a source tree around Nova: `data_folder` has its files for /etc/nova. Ours wants a folder for each."""
    original = conf_fixture.ConfFixture.setUp

    def set_up(self: Any) -> None:
        original(self)
        self.conf.set_default("api_paste_config", os.path.join(data_folder, "api-paste.ini"), group="wsgi")
        folder = tempfile.TemporaryDirectory(prefix="nbm-novatests-")
        self.addCleanup(folder.cleanup)
        self.conf.set_default("state_path", folder.name)

    conf_fixture.ConfFixture.setUp = set_up


class Driver(ours.LibvirtDriver):
    """Ours, ready from the beginning: many unit tests do not call `init_host`."""

    def __init__(self, virtapi: Any, read_only: bool = False) -> None:
        super().__init__(virtapi, read_only)
        self._set_up(CONF.host, CONF.state_path)

    def _set_up(self, host: str, folder: str) -> None:
        super()._set_up(host, os.path.join(folder, host))  # the tests' hosts share one folder
        self._own = OwnHost(self)
        self._transfers = Transfers(self._own, self._transfers._settings, self._transfers._records)
        self._arrivals = Arrivals(self._own, self._arrivals._records)
        self._leaving = leaving.Leaving(host, self._transfers, self._remove_left, self._live_migration_uri)

    def _watch_arrivals(self) -> None:
        """Nothing arrives without its source here."""

    def _observe(self, server_uuid: str) -> Observation:
        domain = self._own.find_domain(server_uuid)
        if domain is None:
            return Observation(Copy.ABSENT)
        runs = domain.info()[0] == fakelibvirt.VIR_DOMAIN_RUNNING
        return Observation(Copy.RUNNING, PowerState.RUNNING) if runs else Observation(Copy.SHUT_OFF, PowerState.SHUTDOWN)


class OwnHost:
    """This host's fake libvirt, in place of `virt.libvirt.host.Host`."""

    name = "here"

    def __init__(self, driver: Any) -> None:
        self._driver = driver

    def find_domain(self, server_uuid: str) -> Any:
        with contextlib.suppress(fakelibvirt.libvirtError):
            return self._driver._host.get_connection().lookupByUUIDString(server_uuid)
        return None

    def domain(self, server_uuid: str, _name: str) -> Any:
        return self._driver._host.get_connection().lookupByUUIDString(server_uuid)


class Transfers(transfers.Transfers):
    """The engine's place is taken by the fake libvirt's `migrateToURI3`, which tests replace by what they want to happen."""

    def _once(self, task: Any, control: Any) -> TransferOutcome:
        domain = self._host.domain(task.plan.server.uuid, "")
        parameters = {"destination_xml": task.prepared.destination_xml, "migrate_disks": list(task.prepared.copied_disks)}
        failures: list[Exception] = []

        def call() -> None:
            try:
                domain.migrateToURI3(task.uri, params=parameters, flags=task.flags)
            except Exception as error:  # noqa: BLE001  # whatever a test raises
                failures.append(error)

        thread = threading.Thread(target=call, daemon=True)
        thread.start()
        while thread.is_alive():
            thread.join(LOOK_INTERVAL_S)
            if control.abort_requested:
                domain.abortJob()
        if failures or domain.jobStats()["type"] == fakelibvirt.VIR_DOMAIN_JOB_FAILED:
            reason = str(failures[0]) if failures else "libvirt says that the job failed"
            return TransferOutcome(Verdict.STAYED, control.abort_reason or reason, control.abort_requested)
        return TransferOutcome(Verdict.HANDED_OVER)

    def _has_left(self, task: Any, home: Any) -> bool:
        return True

    def is_gone(self, task: Any) -> bool:
        """The fake's source keeps a guest that has moved."""
        domain = self._host.find_domain(task.plan.server.uuid)
        if domain is not None and domain.isActive():
            domain.destroy()
        return True


class Arrivals(arrivals.Arrivals):
    def refuse_the_only_copy(self, server_uuid: str) -> None:
        """The fake hosts cannot ask each other."""

    def unmake(self, plan: Any, stayed: bool = False) -> None:
        """Nor is there a copy on the destination before the guest is there."""
        self._unmake_files(plan)


def _describe(domain: Any, _disks: tuple[str, ...]) -> GuestDescription:
    """A guest of the fake libvirt, whose XML lacks what ours is read for."""
    return GuestDescription(domain.UUIDString(), domain.name(), PowerState.RUNNING, 1, 1, (), True, domain.XMLDesc(0))
