"""The libvirt driver: what `ComputeDriver` asks for, each by a call into the module that does it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from typing import Any

from oslo_config import cfg
from oslo_log import log

from nova_blockmigrate.concurrency import native
from nova_blockmigrate.exceptions import ConfigurationError, StorageError
from nova_blockmigrate.image import cleaning
from nova_blockmigrate.image import source as image_source
from nova_blockmigrate.image.cache import BaseImages
from nova_blockmigrate.image.manifest import Manifests
from nova_blockmigrate.image.nbd import Exchange
from nova_blockmigrate.network import settings as network_settings
from nova_blockmigrate.network.plumbing import NoLedger, Plumbing
from nova_blockmigrate.objects import (
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
    Verdict,
    VolumeConnection,
)
from nova_blockmigrate.survey import FoundGuest, GuestSurvey, HostSurvey, Reception, Route
from nova_blockmigrate.virt.driver import TRANSFER, ComputeDriver, FetchBase, Journal, Ledger, TransferControl
from nova_blockmigrate.virt.libvirt import (
    adoption,
    arrival,
    domain_xml,
    flags,
    in_use,
    inspect_guest,
    inspect_host,
    load,
    observe,
    post_copy,
    prepare,
    reception,
    removal,
    resources,
    spawn,
    volumes,
)
from nova_blockmigrate.virt.libvirt.bringing import Bringing
from nova_blockmigrate.virt.libvirt.describe import describe
from nova_blockmigrate.virt.libvirt.guest import Guest
from nova_blockmigrate.virt.libvirt.host import Host
from nova_blockmigrate.virt.libvirt.inspect_route import Routes
from nova_blockmigrate.virt.libvirt.migration import LiveMigration
from nova_blockmigrate.virt.libvirt.transfer import TransferSettings
from nova_blockmigrate.virt.libvirt.unmake import Site
from nova_blockmigrate.virt.libvirt.volume_access import VolumeAccess
from nova_blockmigrate.volume import connecting
from nova_blockmigrate.volume.api import Connector
from nova_blockmigrate.volume.brick import Brick

LOG = log.getLogger(__name__)
_OVER_LIMIT_S = 10.0
"""How long a clean-up waits for libvirt's last call to return; one on a connection that was lost may never."""


class LibvirtDriver(ComputeDriver):
    """KVM guests of one host, through libvirt."""

    host: Host
    images: BaseImages
    manifests: Manifests
    exchange: Exchange
    plumbing: Plumbing
    brick: Brick
    access: VolumeAccess
    capabilities: resources.Capabilities
    domain_settings: domain_xml.DomainSettings
    transfer_settings: TransferSettings

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        super().__init__(conf)
        self._migrations: dict[str, LiveMigration] = {}
        self._lock = native.threading.Lock()
        self._routes = Routes()

    # --- the host ---------------------------------------------------------------------------------------------------

    def init_host(self, host: str) -> None:
        options = self.conf.libvirt
        self.transfer_settings = transfer_settings(options)
        if flags.is_unprotected(options.live_migration_uri):
            LOG.warning(
                "[libvirt] live_migration_uri is %s: whoever reaches libvirt's port owns this host, and guests travel in the "
                "clear. Use this on a closed network only, else qemu+tls:// and live_migration_with_native_tls.",
                options.live_migration_uri,
            )
        if options.live_migration_permit_post_copy:
            LOG.warning(post_copy.WARNING)
        self.host = Host(options.connection_uri, host)
        self.capabilities = resources.Capabilities(self.host)
        self.capabilities.load()
        self.domain_settings = self._domain_settings()
        os.makedirs(self.instances_path, exist_ok=True)
        self.manifests = Manifests(os.path.join(self.conf.state_path, "manifests"))
        self.manifests.prune()
        source = image_source.load(self.conf, self.manifests, host)
        self.images = BaseImages(self.instances_path, source, self.manifests, self.conf.force_raw_images, host)
        limit_bytes_s = self.transfer_settings.bandwidth_mib * 1024**2
        self.exchange = Exchange(host, self.manifests, self.transfer_settings.native_tls, limit_bytes_s)
        self.plumbing = Plumbing(network_settings.read(self.conf, host))
        self.plumbing.start()
        self.brick = Brick(self.conf, host)
        self.access = VolumeAccess(self.conf, self.host, self.brick)

    def close(self) -> None:
        self.brick.close()
        self.plumbing.close()
        self.host.close()

    @property
    def instances_path(self) -> str:
        path: str = self.conf.instances_path
        return path

    def get_available_resource(self) -> HostResources:
        return resources.measure(self.host, self.capabilities, self.host.name, self.conf.my_ip, self.instances_path)

    def list_instance_uuids(self) -> list[str]:
        with self.host.errors("list domains"):
            return [domain.UUIDString() for domain in self.host.connection().listAllDomains()]

    def get_power_states(self) -> dict[str, PowerState]:
        return resources.power_states(self.host)

    # --- a guest ----------------------------------------------------------------------------------------------------

    def spawn(self, server: Server, ledger: Ledger) -> None:
        settings, path = self.domain_settings, self.instances_path
        spawn.spawn(self.host, self.images, self.plumbing, server, settings, path, ledger, self.access)

    def destroy(self, server: Server, ledger: Ledger) -> tuple[str, ...]:
        return removal.delete_server(self._site(server, ledger))

    def power_on(self, server: Server) -> None:
        self._reconnect(server)
        self._guest(server).start()

    def power_off(self, server: Server, timeout_s: float) -> None:
        self._guest(server).shut_down(timeout_s)

    def reboot(self, server: Server, hard: bool) -> None:
        self._reconnect(server)
        self._guest(server).reboot(hard, self.conf.shutdown_timeout)

    def pause(self, server: Server) -> None:
        self._guest(server).pause()

    def unpause(self, server: Server) -> None:
        self._guest(server).unpause()

    def suspend(self, server: Server) -> None:
        self._guest(server).save()

    def resume(self, server: Server) -> None:
        self._reconnect(server)
        self._guest(server).start()

    def get_volume_connector(self, detailed: bool) -> Connector:
        properties: dict[str, Any] = {}
        if detailed:
            try:
                properties = self.brick.properties()
            except StorageError as error:  # what iSCSI needs is known without it, and of all else the backend says what it misses
                LOG.error("Of this host storage learns the least: %s", error.message)
        return connecting.connector(self.conf, self.host.name, properties)

    def list_disks(self, server: Server) -> list[str]:
        return volumes.disk_names(self.host, server)

    def attach_volume(self, server: Server, connection: VolumeConnection, ledger: Ledger) -> None:
        volumes.attach(self.host, server, connection, self.access.grant(connection, ledger))

    def detach_volume(self, server: Server, connection: VolumeConnection, ledger: Ledger) -> None:
        volumes.detach(self.host, server, connection)
        self.access.revoke(connection, ledger)

    def get_info(self, server: Server) -> PowerState:
        return self._guest(server).power_state()

    def get_console_output(self, server: Server, max_bytes: int) -> bytes:
        try:
            with open(domain_xml.console_log(self.instances_path, server.uuid), "rb") as file:
                file.seek(max(0, os.fstat(file.fileno()).st_size - max_bytes))
                return file.read(max_bytes)
        except FileNotFoundError:
            return b""

    def refresh_firewall(self, servers: list[Server]) -> None:
        self.plumbing.refresh({server.uuid: server.vifs for server in servers})

    def read_connections(self, server: Server) -> list[str]:
        return self.plumbing.connections(server.vifs)

    def take_over_connections(self, server: Server, connections: list[str]) -> None:
        self.plumbing.take_over(connections)

    def remove_unused_bases(self, is_listed: Callable[[str], bool], minimum_age_s: float) -> tuple[str, ...]:
        used, now_s = in_use.used_files(self.host), native.time.time()
        return cleaning.remove_unused(self.images.directory, self.manifests, used, is_listed, minimum_age_s, now_s)

    # --- guests that others made ------------------------------------------------------------------------------------

    def find_guests(self, names: tuple[str, ...]) -> tuple[FoundGuest, ...]:
        return adoption.find(self.host, names)

    def adopt(self, server: Server, ledger: Ledger) -> tuple[str, ...]:
        return adoption.adopt(self.host, server, ledger)

    # --- live migration ---------------------------------------------------------------------------------------------

    def check_can_live_migrate_source(self, server: Server) -> GuestDescription:
        return describe(self.host, server, self.manifests)

    def check_can_live_migrate_destination(self, server: Server, guest: GuestDescription) -> Reception:
        return reception.survey(
            self.host, self.capabilities, self.manifests, self.plumbing, server, guest, self.instances_path, self._is_connected_here
        )

    def survey_host(self) -> HostSurvey:
        address = self.conf.libvirt.live_migration_inbound_addr or ""
        return inspect_host.survey(self.capabilities, self.transfer_settings, self.instances_path, address)

    def survey_guest(self, server: Server) -> GuestSurvey:
        return inspect_guest.survey(self.host, server)

    def survey_route(self, destination: str, address: str, port: int) -> Route:
        uri = self.transfer_settings.destination_uri(destination)
        return self._routes.survey(uri, destination, address or destination, port, self.capabilities.host_uuid())

    def measure_load(self, server: Server, seconds: int) -> GuestLoad:
        return load.measure(self.host, server, seconds)

    def pre_live_migration(
        self, plan: MigrationPlan, guest: GuestDescription, ledger: Ledger, fetch_base: FetchBase
    ) -> PreparedDestination:
        address = self.conf.libvirt.live_migration_inbound_addr or ""
        files = Bringing(self.host.name, self.images, self.manifests, ledger, fetch_base)
        preparation = prepare.Preparation(self.host.name, self.instances_path, files, self.plumbing, ledger)
        return preparation.make(plan, guest, address, self.access)

    def live_migration(
        self, plan: MigrationPlan, guest: GuestDescription, prepared: PreparedDestination, control: TransferControl
    ) -> TransferOutcome:
        destination = self._peer(prepared.libvirt_host)
        migration = LiveMigration(self.host, destination, self.transfer_settings, plan, guest, prepared, control)
        with self._lock:
            self._migrations[plan.migration_uuid] = migration
        try:
            outcome = migration.run()
        finally:
            destination.close()
        if outcome.verdict is not Verdict.HANDED_OVER:
            with self._lock:
                self._migrations.pop(plan.migration_uuid, None)
        return outcome

    def complete_arrival(
        self, plan: MigrationPlan, was_paused: bool, source_is_dead: bool, goes_on: Callable[[], bool]
    ) -> TransferOutcome:
        source = self._peer(plan.source_host)
        try:
            return arrival.complete(self.host, source, plan.server.uuid, was_paused, source_is_dead, goes_on)
        finally:
            source.close()

    def post_live_migration_at_destination(self, plan: MigrationPlan, autostart: bool = False) -> TransferProgress | None:
        return arrival.settle_in(self.host, self.plumbing, plan, autostart)

    def post_live_migration_at_source(self, plan: MigrationPlan, guest: GuestDescription, ledger: Ledger) -> tuple[str, ...]:
        with self._lock:
            migration = self._migrations.pop(plan.migration_uuid, None)
        if migration is not None:
            migration.over.wait(_OVER_LIMIT_S)
        destination = self._peer(plan.destination_host)
        try:
            return removal.clean_source(self._site(plan.server, ledger), destination, plan, guest)
        finally:
            destination.close()

    def rollback_live_migration_at_destination(self, plan: MigrationPlan, ledger: Ledger, stayed: bool = False) -> tuple[str, ...]:
        source = self._peer(plan.source_host)
        try:
            return prepare.release(self._site(plan.server, ledger), plan, source, stayed)
        finally:
            source.close()

    def observe(self, server_uuid: str, journal: Journal | None) -> Observation:
        # a journal that knows of no transfer is that of a destination
        is_destination = journal is not None and not journal.has(TRANSFER)
        return observe.observe(self.host, server_uuid, is_destination, fenced=journal is not None and journal.has("fenced"))

    def serve_base(self, path: str, address: str) -> contextlib.AbstractContextManager[str]:
        return self.exchange.serve(path, address)

    def fetch_base(self, uri: str, sha256: str, path: str) -> int:
        return self.exchange.fetch(uri, sha256, path)

    # --- inside -----------------------------------------------------------------------------------------------------

    def _reconnect(self, server: Server) -> None:
        """Before the guest starts: what it was connected by may have gone with a boot of the host."""
        self.plumbing.plug(server.vifs, NoLedger())
        volumes.reconnect(self.host, server, self.access.connect)

    def _site(self, server: Server, ledger: Ledger) -> Site:
        return Site(self.host, self.plumbing, server, ledger, self.access, self.manifests)

    def _is_connected_here(self, protocol: str) -> bool:
        """Whether such volumes are devices or files of this host, by os-brick."""
        return not connecting.is_opened_by_qemu(self.conf, protocol)

    def _guest(self, server: Server) -> Guest:
        return Guest(self.host, server.uuid, server.domain_name)

    def _peer(self, name: str) -> Host:
        return Host(self.transfer_settings.destination_uri(name), name)

    def _domain_settings(self) -> domain_xml.DomainSettings:
        options = self.conf.libvirt
        return domain_xml.DomainSettings(
            virt_type=options.virt_type,
            machine=options.hw_machine_type,
            cpu_mode=options.cpu_mode,
            cpu_model=self._cpu_model(options) if options.cpu_mode == "custom" else "",
            cache_mode=options.disk_cachemode,
            arch=resources.ARCH,
        )

    def _cpu_model(self, options: Any) -> str:
        usable = resources.usable_cpu_models(self.host, options.virt_type)
        for model in options.cpu_models:
            if model in usable:
                return str(model)
        raise ConfigurationError(
            detail=f"[libvirt] cpu_models {', '.join(options.cpu_models) or '(empty)'}: this host can run none of them as "
            f"{options.virt_type} guests. To do: name one of {', '.join(sorted(usable)) or 'none'}."
        )


def transfer_settings(options: Any) -> TransferSettings:
    """What the options say about transfers.

    :raises ConfigurationError: they contradict each other, or libvirt.
    """
    wishes = flags.Wishes(
        parallel_connections=options.live_migration_parallel_connections,
        native_tls=options.live_migration_with_native_tls,
        auto_converge=options.live_migration_permit_auto_converge,
        post_copy=options.live_migration_permit_post_copy,
    )
    flags.check_uri(options.live_migration_uri)
    return TransferSettings(
        uri=options.live_migration_uri,
        live_flags=flags.live_flags(options.live_migration_flag, wishes),
        block_flags=flags.block_flags(options.block_migration_flag, wishes),
        bandwidth_mib=options.live_migration_bandwidth,
        downtime_ms=options.live_migration_downtime,
        parallel_connections=options.live_migration_parallel_connections,
        native_tls=options.live_migration_with_native_tls,
        poll_interval_s=options.live_migration_poll_interval,
        timeout_s_per_gib=options.live_migration_completion_timeout,
        timeout_s=options.live_migration_timeout,
        force_after_timeout=options.live_migration_timeout_action == "force_complete",
    )
