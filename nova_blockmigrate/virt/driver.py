"""The interface between a compute manager and its hypervisor, with Nova's method names.

Drivers are found through stevedore in the namespace `nova_blockmigrate.virt`. Every method is plain blocking code and
is called in a native thread (`concurrency.run_native`), several at a time. Methods that change something may be called
again after a crash and then end the same. Errors are `exceptions`, with the hypervisor's own text inside.
"""

from __future__ import annotations

import abc
import contextlib
from collections.abc import Callable
from typing import Any, Protocol

import stevedore.driver
from oslo_config import cfg

from nova_blockmigrate.objects import (
    Artefact,
    GuestDescription,
    GuestLoad,
    HostResources,
    MigrationPlan,
    Observation,
    PowerState,
    PreparedDestination,
    Server,
    TransferOutcome,
    TransferProgress,
    VolumeConnection,
)
from nova_blockmigrate.survey import FoundGuest, GuestSurvey, HostSurvey, Reception, Route
from nova_blockmigrate.volume.api import Connector

NAMESPACE = "nova_blockmigrate.virt"
BASE = "base"
"""Kind of artefact: a file that nobody writes to (base image, medium, kernel) and that other guests may use, too. The one kind that
the compute service must know by name, as it says which of them its ledgers list."""


class Ledger(Protocol):
    """Durable list of what is made on a host for one server or migration; kept by the compute service."""

    def entry(self, kind: str, name: str) -> contextlib.AbstractContextManager[None]:
        """Write the artefact down (on disk before the body runs). It stays listed when the body fails: it may be half made."""

    def artefacts(self) -> list[Artefact]:
        """What is listed, oldest first."""

    def forget(self, artefact: Artefact) -> None:
        """Strike an artefact that exists no more."""

    def is_shared(self, artefact: Artefact) -> bool:
        """Whether the ledger of another server or migration of this host lists the same."""


TRANSFER = "transfer"
"""The driver's mark in the journal before it does what may move the guest: from then on no error says that the guest stayed."""


class Journal(Protocol):
    """Durable marks of one migration on one host: what a crash must not forget."""

    def mark(self, name: str) -> None:
        """On disk when this returns; the time is kept with it."""

    def has(self, name: str) -> bool: ...

    def latest(self, *names: str) -> str:
        """That of these marks which was made last; empty when none was."""


class TransferControl(Protocol):
    """What the manager tells a running transfer, and hears of it. Safe to use from any native thread."""

    journal: Journal
    destination_is_dead: bool
    """An operator vouches that the destination host does not run, should its hypervisor be out of reach: what is on the source
    is the last that is left."""

    def report(self, progress: TransferProgress) -> None:
        """Called every `live_migration_poll_interval` seconds while the transfer runs. Never blocks."""

    def mark(self, name: str) -> None:
        """Note the present time under `name` in the outcome's marks (not durable)."""

    @property
    def abort_requested(self) -> bool: ...

    @property
    def abort_reason(self) -> str: ...

    def on_abort(self, callback: Callable[[], None]) -> None:
        """Have `callback` run (in some native thread) when an abort is asked for; at once if it was already."""

    def on_force_complete(self, callback: Callable[[], None]) -> None:
        """The same for the wish that the transfer end now, whatever pause that costs the guest."""


FetchBase = Callable[[str, str, str], int]
"""(path on the source, sha256, path here) -> bytes brought: get a base file that is missing here from the source host."""


class ComputeDriver(abc.ABC):
    """One hypervisor on one host."""

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        self.conf = conf

    # --- the host ---------------------------------------------------------------------------------------------------

    @abc.abstractmethod
    def init_host(self, host: str) -> None:
        """Connect, and refuse (ConfigurationError) what cannot work: unknown or contradictory flags and options."""

    def close(self) -> None:  # noqa: B027 - a driver may have nothing to close
        """Give up connections and threads."""

    @abc.abstractmethod
    def get_available_resource(self) -> HostResources: ...

    @abc.abstractmethod
    def list_instance_uuids(self) -> list[str]:
        """UUIDs of all guests the hypervisor knows, running or not."""

    @abc.abstractmethod
    def get_power_states(self) -> dict[str, PowerState]:
        """Of all guests the hypervisor knows, by their UUIDs."""

    # --- a guest ----------------------------------------------------------------------------------------------------

    @abc.abstractmethod
    def spawn(self, server: Server, ledger: Ledger) -> None:
        """Make the disks of a new server and start it. When it fails, nothing stays behind."""

    @abc.abstractmethod
    def destroy(self, server: Server, ledger: Ledger) -> tuple[str, ...]:
        """Stop the guest if it runs, undefine it and delete what its ledger lists. A guest that is not here is fine.

        Returns what stays here, in words."""

    @abc.abstractmethod
    def power_on(self, server: Server) -> None: ...

    @abc.abstractmethod
    def power_off(self, server: Server, timeout_s: float) -> None:
        """Ask the guest to shut down; pull the plug after `timeout_s` seconds (0: at once)."""

    @abc.abstractmethod
    def reboot(self, server: Server, hard: bool) -> None: ...

    @abc.abstractmethod
    def pause(self, server: Server) -> None: ...

    @abc.abstractmethod
    def unpause(self, server: Server) -> None: ...

    @abc.abstractmethod
    def suspend(self, server: Server) -> None:
        """Save the guest's memory to disk and stop it (libvirt's managed save)."""

    @abc.abstractmethod
    def resume(self, server: Server) -> None: ...

    @abc.abstractmethod
    def get_volume_connector(self, detailed: bool) -> Connector:
        """What a volume backend must know of this host; `detailed`: with all that os-brick says of it.

        :raises StorageError: os-brick could not find out.
        """

    @abc.abstractmethod
    def list_disks(self, server: Server) -> list[str]:
        """Names of the guest's disks: vda, …"""

    @abc.abstractmethod
    def attach_volume(self, server: Server, connection: VolumeConnection, ledger: Ledger) -> None:
        """Give the guest a disk, running or not, for good; one that it has is fine. What the host needs for it is in the
        server's ledger first.

        :raises exceptions.StorageError: this host cannot reach the volume.
        """

    @abc.abstractmethod
    def detach_volume(self, server: Server, connection: VolumeConnection, ledger: Ledger) -> None:
        """Take a disk from the guest; returns when it is gone. One that it does not have, or a guest that is not here, is fine.

        :raises exceptions.HypervisorError: the guest does not give it up.
        """

    @abc.abstractmethod
    def get_info(self, server: Server) -> PowerState:
        """Power state; NOSTATE when the guest is not here."""

    @abc.abstractmethod
    def get_console_output(self, server: Server, max_bytes: int) -> bytes:
        """The last bytes of what the guest wrote to its serial console."""

    def refresh_firewall(self, servers: list[Server]) -> None:  # noqa: B027 - a driver may have no firewall
        """Put the rules of guests in force as they are now, each guest's at once; those that are not here are passed over."""

    def remove_unused_bases(self, is_listed: Callable[[str], bool], minimum_age_s: float) -> tuple[str, ...]:
        """Remove base images of ours that no guest of this host has needed for so long, and that no ledger lists (`is_listed`);
        returns their paths.

        :raises BlockMigrateError: it cannot be said what guests need.
        """
        return ()

    def read_connections(self, server: Server) -> list[str]:
        """The network connections that a guest of this host has (or had, until it left) open, in a form of the driver's own."""
        return []

    def take_over_connections(self, server: Server, connections: list[str]) -> None:  # noqa: B027 - see above
        """Know the connections that a guest brings from another host (`read_connections` there), before or after it came."""

    # --- guests that others made ------------------------------------------------------------------------------------

    @abc.abstractmethod
    def find_guests(self, names: tuple[str, ...]) -> tuple[FoundGuest, ...]:
        """Guests of this host that have one of these names or UUIDs; without any, all guests. Changes nothing."""

    @abc.abstractmethod
    def adopt(self, server: Server, ledger: Ledger) -> tuple[str, ...]:
        """Write down what belongs to a guest alone, so that it may be deleted with it. Changes nothing of the guest.

        Returns what does not belong to it alone and will stay, in words.
        :raises GuestNotFound: it is not here.
        """

    # --- live migration ---------------------------------------------------------------------------------------------

    @abc.abstractmethod
    def survey_host(self) -> HostSurvey:
        """Look this host over, whatever guest is to come or to leave. Changes nothing."""

    @abc.abstractmethod
    def survey_guest(self, server: Server) -> GuestSurvey:
        """What stands in the way of a guest of this host, but for its backing chains. Changes nothing."""

    @abc.abstractmethod
    def survey_route(self, destination: str, address: str, port: int) -> Route:
        """Try the way to another host: its hypervisor, and the port on which it listens (0: none). Changes nothing."""

    @abc.abstractmethod
    def check_can_live_migrate_source(self, server: Server) -> GuestDescription:
        """Describe the guest: state, devices, disks with their chains and the hashes of their base files.

        :raises StorageError: a backing chain cannot be read.
        """

    @abc.abstractmethod
    def check_can_live_migrate_destination(self, server: Server, guest: GuestDescription) -> Reception:
        """What the guest would find on this host. Changes nothing."""

    @abc.abstractmethod
    def measure_load(self, server: Server, seconds: int) -> GuestLoad:
        """On the source: how much the guest writes, watched for `seconds` (1 or more). Changes nothing."""

    @abc.abstractmethod
    def pre_live_migration(
        self, plan: MigrationPlan, guest: GuestDescription, ledger: Ledger, fetch_base: FetchBase
    ) -> PreparedDestination:
        """On the destination: base images present and verified, overlays made, networks ready; all through the ledger."""

    @abc.abstractmethod
    def live_migration(
        self, plan: MigrationPlan, guest: GuestDescription, prepared: PreparedDestination, control: TransferControl
    ) -> TransferOutcome:
        """On the source: transfer and hand over (blocks until decided). Repeatable: called for a transfer that is running
        already (a compute service restarted), it re-attaches to it; for one that is over, it finds the outcome."""

    @abc.abstractmethod
    def complete_arrival(
        self, plan: MigrationPlan, was_paused: bool, source_is_dead: bool, goes_on: Callable[[], bool]
    ) -> TransferOutcome:
        """On the destination, when the source's compute service does not answer: HANDED_OVER if the guest is here, or can
        be let run here because the source's hypervisor proves that it never runs there again; else UNDECIDED, with what is known.

        `source_is_dead`: an operator vouches for that, should the source's hypervisor be out of reach. A guest of which nothing is
        here then has STAYED there, with its disks.
        `goes_on`: asked after the hypervisors and before the guest is let run: whether this migration is under way still. If it is
        not, the copy here is stale, and the guest left the source (or was deleted) for another reason."""

    @abc.abstractmethod
    def post_live_migration_at_destination(self, plan: MigrationPlan, autostart: bool = False) -> TransferProgress | None:
        """The guest runs here now: announce it, see that it is persistent (and, if it was so, that it starts with its host), flush
        its disk files to stable storage.

        Returns the transfer's final figures, or None when the hypervisor has them no more."""

    @abc.abstractmethod
    def post_live_migration_at_source(self, plan: MigrationPlan, guest: GuestDescription, ledger: Ledger) -> tuple[str, ...]:
        """Release what the guest left here: networks, domain, and what its ledger lists. Deletes only when libvirt says that
        the guest is not here and the destination's libvirt says that it is there (UnsafeRemoval otherwise).

        Returns what stays here, in words."""

    @abc.abstractmethod
    def rollback_live_migration_at_destination(self, plan: MigrationPlan, ledger: Ledger, stayed: bool = False) -> tuple[str, ...]:
        """Release what the ledger lists, newest first. Never a running copy, nor one that may be the only one (UnsafeRemoval).
        Returns what stays, in words.

        `stayed`: the migration is over and its guest did not come, so a complete copy here is stale, whatever the source says."""

    @abc.abstractmethod
    def observe(self, server_uuid: str, journal: Journal | None) -> Observation:
        """What libvirt (and the journal of a migration) say of the guest on this host."""

    @abc.abstractmethod
    def serve_base(self, path: str, address: str) -> contextlib.AbstractContextManager[str]:
        """Serve a base file of this host, read-only and raw, to another host; yields its URI for qemu-img. Ends on exit."""

    @abc.abstractmethod
    def fetch_base(self, uri: str, sha256: str, path: str) -> int:
        """Copy from a URI of `serve_base` to `path` (complete and verified, or not there at all); returns bytes brought.

        Called by `pre_live_migration` (through `fetch_base`) for one path at a time."""


def load_driver(conf: cfg.ConfigOpts) -> ComputeDriver:
    """The driver that `[DEFAULT] compute_driver` names."""
    manager: Any = stevedore.driver.DriverManager(
        NAMESPACE, conf.compute_driver, invoke_on_load=True, invoke_args=(conf,), warn_on_missing_entrypoint=False
    )
    driver: ComputeDriver = manager.driver
    return driver
