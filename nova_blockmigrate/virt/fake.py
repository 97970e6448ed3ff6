"""A driver whose guests live in memory and behave as on hosts: for tests of the API and the managers, and for scale.

The world is a `FakeCloud` (see there for the hooks), shared by all drivers of a process, so that hosts can migrate to each
other. Driver methods are the interface's; each is a point that a test can hold or let fail.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import time
from collections.abc import Callable, Iterator

from oslo_config import cfg

from nova_blockmigrate import exceptions
from nova_blockmigrate.objects import (
    Copy,
    DiskLayer,
    GuestDescription,
    GuestDisk,
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
from nova_blockmigrate.virt import fake_cloud, fake_transfer
from nova_blockmigrate.virt.driver import ComputeDriver, FetchBase, Journal, Ledger, TransferControl
from nova_blockmigrate.virt.fake_cloud import EXECUTING, GONE, HALF_MADE, FakeCloud, FakeCopy, FakeDisk, FakeHost
from nova_blockmigrate.volume.api import Connector

GIB = 1024**3
ALLOCATED_BYTES = 64 * 1024**2
"""What a fake disk is said to occupy: what a transfer copies of it."""


class FakeDriver(ComputeDriver):
    """One fake host."""

    host: FakeHost

    def __init__(self, conf: cfg.ConfigOpts, cloud: FakeCloud | None = None) -> None:
        super().__init__(conf)
        self.cloud = cloud or fake_cloud.shared()

    # --- the host ---------------------------------------------------------------------------------------------------

    def init_host(self, host: str) -> None:
        self.host = self.cloud.host(host)
        self.host.require_up()
        for entry in self.conf.fake.fail_at:
            where, _, method = entry.rpartition(":")
            if where in ("", host):
                self.host.fail(method, f"[fake] fail_at names {entry}")

    def get_available_resource(self) -> HostResources:
        fake = self.conf.fake
        with self._at("get_available_resource"):
            servers = [copy.server for copy in self.host.copies.values() if copy.state not in GONE]
            running = [copy for copy in self.host.copies.values() if copy.state in EXECUTING]
        disk_used_gib = sum(server.root_gib for server in servers)
        return HostResources(
            host=self.host.name,
            hypervisor_hostname=self.host.name,
            hypervisor_type="fake",
            hypervisor_version=7002000,
            libvirt_version=9000000,
            host_ip=self.conf.my_ip,
            vcpus=fake.vcpus,
            vcpus_used=sum(server.vcpus for server in servers),
            memory_mib=self.host.memory_mib or fake.memory_mib,
            memory_used_mib=sum(server.memory_mib for server in servers),
            disk_gib=fake.disk_gib,
            disk_used_gib=disk_used_gib,
            disk_free_bytes=(fake.disk_gib - disk_used_gib) * GIB,
            running_vms=len(running),
            cpu_info=json.dumps({"arch": "x86_64", "model": "fake", "vendor": "fake", "topology": {}, "features": []}),
        )

    def list_instance_uuids(self) -> list[str]:
        with self._at("list_instance_uuids"):
            return list(self.host.copies)

    def get_power_states(self) -> dict[str, PowerState]:
        with self._at("get_power_states"):
            return {uuid: copy.power_state for uuid, copy in self.host.copies.items()}

    # --- a guest ----------------------------------------------------------------------------------------------------

    def spawn(self, server: Server, ledger: Ledger) -> None:
        made: list[str] = []
        with self._at("spawn"):
            try:
                self._make_disk(server, ledger, f"disk of {server.uuid}", made)
                self._plug(server, ledger)
                self.cloud.add_copy(self.host, FakeCopy(server, Copy.RUNNING, memory=f"memory of {server.uuid}"))
            except Exception:  # the border of the method: nothing stays behind, whatever failed
                for path in made:
                    self.host.disks.pop(path, None)
                self._unplug(server)
                raise

    def destroy(self, server: Server, ledger: Ledger) -> tuple[str, ...]:
        with self._at("destroy"):
            others = [name for name, state in self.cloud.where(server.uuid).items() if name != self.host.name and state not in GONE]
            self.cloud.remove_copy(self.host, server.uuid)
            if not others:
                self.cloud.deleted.add(server.uuid)
            for path in [path for path, disk in self.host.disks.items() if disk.owner == server.uuid]:
                self.cloud.delete_disk(self.host, path)
            self._unplug(server)
            _forget_all(ledger)
        return ()

    def power_on(self, server: Server) -> None:
        self._change("power_on", server, Copy.RUNNING)

    def power_off(self, server: Server, timeout_s: float) -> None:
        self._change("power_off", server, Copy.SHUT_OFF)

    def reboot(self, server: Server, hard: bool) -> None:
        self._change("reboot", server, Copy.RUNNING)

    def pause(self, server: Server) -> None:
        self._change("pause", server, Copy.PAUSED_BY_USER)

    def unpause(self, server: Server) -> None:
        self._change("unpause", server, Copy.RUNNING)

    def suspend(self, server: Server) -> None:
        self._change("suspend", server, Copy.SHUT_OFF, saved=True)

    def resume(self, server: Server) -> None:
        self._change("resume", server, Copy.RUNNING)

    def get_volume_connector(self, detailed: bool) -> Connector:
        with self._at("get_volume_connector"):
            return Connector(self.host.name, self.conf.my_ip, f"iqn.2026-11.fake:{self.host.name}")

    def list_disks(self, server: Server) -> list[str]:
        with self._at("list_disks"):
            return ["vda", *self._copy(server).volumes.values()]

    def attach_volume(self, server: Server, connection: VolumeConnection, ledger: Ledger) -> None:
        with self._at("attach_volume"):
            self._copy(server).volumes[connection.volume_id] = connection.target_dev

    def detach_volume(self, server: Server, connection: VolumeConnection, ledger: Ledger) -> None:
        with self._at("detach_volume"):
            if copy := self.host.copies.get(server.uuid):
                copy.volumes.pop(connection.volume_id, None)

    def get_info(self, server: Server) -> PowerState:
        with self._at("get_info"):
            copy = self.host.copies.get(server.uuid)
            return copy.power_state if copy else PowerState.NOSTATE

    def get_console_output(self, server: Server, max_bytes: int) -> bytes:
        with self._at("get_console_output"):
            text = f"{self._copy(server).server.domain_name} on {self.host.name}\n".encode()
        return text[len(text) - max_bytes :] if max_bytes < len(text) else text

    # --- guests that others made ------------------------------------------------------------------------------------

    def find_guests(self, names: tuple[str, ...]) -> tuple[FoundGuest, ...]:
        with self._at("find_guests"):
            copies = [copy for copy in self.host.copies.values() if copy.state not in GONE]
            servers = [
                (copy.server, copy) for copy in copies if not names or {copy.server.uuid, copy.server.domain_name} & {*names}
            ]
            return tuple(
                FoundGuest(
                    server.uuid, server.domain_name, server.memory_mib, server.vcpus, server.root_gib * GIB, int(copy.power_state)
                )
                for server, copy in servers
            )

    def adopt(self, server: Server, ledger: Ledger) -> tuple[str, ...]:
        with self._at("adopt"):
            self._copy(server)
            with ledger.entry("file", self._disk_path(server)):
                return ()

    # --- live migration ---------------------------------------------------------------------------------------------

    def check_can_live_migrate_source(self, server: Server) -> GuestDescription:
        with self._at("check_can_live_migrate_source"):
            copy = self._copy(server)
            return GuestDescription(
                uuid=server.uuid,
                domain_name=server.domain_name,
                power_state=copy.power_state,
                memory_mib=server.memory_mib,
                vcpus=server.vcpus,
                disks=(self._describe_disk(server),),
                persistent=True,
                xml=f"<domain type='fake'><name>{server.domain_name}</name><uuid>{server.uuid}</uuid></domain>",
                machine_type="fake",
                cpu_model="fake",
            )

    def check_can_live_migrate_destination(self, server: Server, guest: GuestDescription) -> Reception:
        try:
            with self._at("check_can_live_migrate_destination"):
                if self.host.state_of(server.uuid) not in GONE:
                    return Reception(names_taken=(f"a guest with the UUID {server.uuid}",))
        except exceptions.HypervisorError as error:
            return Reception(cpu_problem=error.message)
        bases = {layer.path: layer for disk in guest.disks for layer in disk.layers[1:]}
        return Reception(
            missing_base_bytes=sum(base.allocated_bytes for path, base in bases.items() if path not in self.host.disks)
        )

    def survey_host(self) -> HostSurvey:
        with self._at("survey_host"):
            return HostSurvey(f"uuid of {self.host.name}", time.time(), listening_port=49215, flags=("VIR_MIGRATE_NON_SHARED_INC",))

    def survey_guest(self, server: Server) -> GuestSurvey:
        with self._at("survey_guest"):
            return GuestSurvey(blockers=(), inodes={self._disk_path(server): 1})

    def survey_route(self, destination: str, address: str, port: int) -> Route:
        uri = f"fake://{destination}/"
        with self._at("survey_route"):
            if not self.cloud.host(destination).up:
                return Route(uri, uri_problem=f"the hypervisor of {destination} was stopped")
            return Route(uri, peer_uuid=f"uuid of {destination}", port=port)

    def measure_load(self, server: Server, seconds: int) -> GuestLoad:
        with self._at("measure_load"):
            self._copy(server)
        memory_bytes = server.memory_mib * 1024**2
        return GuestLoad(seconds, memory_bytes // 2, memory_bytes // 64, ALLOCATED_BYTES // 64)

    def pre_live_migration(
        self, plan: MigrationPlan, guest: GuestDescription, ledger: Ledger, fetch_base: FetchBase
    ) -> PreparedDestination:
        with self._at("pre_live_migration"):
            state = self.host.state_of(plan.server.uuid)
            if state not in GONE | HALF_MADE:
                raise exceptions.StorageError(host=self.host.name, action="prepare", reason=f"the guest is here already ({state})")
        fetched = 0
        for layer in (layer for disk in guest.disks for layer in disk.layers[1:]):
            if layer.path not in self.host.disks:
                fetched += fetch_base(layer.path, layer.sha256, layer.path)  # (waits for another host: without the lock)
        with self.cloud.changed:
            self._make_disk(plan.server, ledger, "empty", [])
            self._plug(plan.server, ledger)
        return PreparedDestination(
            libvirt_host=self.host.name,
            copied_disks=tuple(disk.target_dev for disk in guest.disks if disk.is_copied),
            bytes_fetched=fetched,
        )

    def live_migration(
        self, plan: MigrationPlan, guest: GuestDescription, prepared: PreparedDestination, control: TransferControl
    ) -> TransferOutcome:
        return fake_transfer.run(self.cloud, self.conf, plan, guest, control)

    def complete_arrival(
        self, plan: MigrationPlan, was_paused: bool, source_is_dead: bool, goes_on: Callable[[], bool]
    ) -> TransferOutcome:
        with self._at("complete_arrival"):
            source, uuid = self.cloud.host(plan.source_host), plan.server.uuid
            source_gone = source.state_of(uuid) in (Copy.ABSENT, Copy.MIGRATED_AWAY) if source.up else source_is_dead
            copy = self.host.copies.get(uuid)
            if copy is None and source_is_dead and not source.up:
                return TransferOutcome(Verdict.STAYED, f"{source.name} is said to be dead", power_state=PowerState.SHUTDOWN)
            if copy is None or not source_gone or copy.state in HALF_MADE - {Copy.PAUSED_COMPLETE}:
                return TransferOutcome(Verdict.UNDECIDED, f"{self.host.state_of(uuid)} on {self.host.name}")
            if copy.state is Copy.PAUSED_COMPLETE:
                if not goes_on():
                    return TransferOutcome(Verdict.UNDECIDED, f"the copy on {self.host.name} may be stale")
                self.cloud.set_state(self.host, uuid, Copy.PAUSED_BY_USER if was_paused else Copy.RUNNING)
            return TransferOutcome(Verdict.HANDED_OVER, power_state=copy.power_state)

    def post_live_migration_at_destination(self, plan: MigrationPlan, autostart: bool = False) -> TransferProgress | None:
        with self._at("post_live_migration_at_destination"):
            self._copy(plan.server)
        return None

    def post_live_migration_at_source(self, plan: MigrationPlan, guest: GuestDescription, ledger: Ledger) -> tuple[str, ...]:
        uuid = plan.server.uuid
        with self._at("post_live_migration_at_source"):
            destination = self.cloud.host(plan.destination_host)
            destination.require_up()
            if self.host.state_of(uuid) not in GONE:
                self._refuse(plan.server, f"the guest is here ({self.host.state_of(uuid)})")
            if destination.state_of(uuid) in GONE | HALF_MADE:
                self._refuse(plan.server, f"{destination.name} does not have the guest ({destination.state_of(uuid)})")
            self.cloud.remove_copy(self.host, uuid)
            for path in [path for path, disk in self.host.disks.items() if disk.owner == uuid]:
                self.cloud.delete_disk(self.host, path)
            self._unplug(plan.server)
            _forget_all(ledger)
        return ()

    def rollback_live_migration_at_destination(self, plan: MigrationPlan, ledger: Ledger, stayed: bool = False) -> tuple[str, ...]:
        uuid = plan.server.uuid
        with self._at("rollback_live_migration_at_destination"):
            state = self.host.state_of(uuid)
            if state not in GONE | HALF_MADE:
                self._refuse(plan.server, f"its guest is here ({state})")
            self.cloud.remove_copy(self.host, uuid)
            for artefact in reversed(ledger.artefacts()):
                if artefact.kind == "file":
                    self.cloud.delete_disk(self.host, artefact.name)
                elif artefact.kind == "tap":
                    self.host.taps.pop(artefact.name, None)
                ledger.forget(artefact)
        return ()

    def observe(self, server_uuid: str, journal: Journal | None) -> Observation:
        with self.cloud.changed:
            self.host.come_to("observe")
            if not self.host.up:
                return Observation(Copy.UNREACHABLE, detail=f"the hypervisor of {self.host.name} was stopped")
            copy = self.host.copies.get(server_uuid)
            fenced = journal is not None and journal.has("fenced")
            if copy is None:
                return Observation(Copy.ABSENT, fenced=fenced)
            return Observation(copy.state, copy.power_state, fenced)

    @contextlib.contextmanager
    def serve_base(self, path: str, address: str) -> Iterator[str]:
        with self._at("serve_base"):
            if path not in self.host.disks:
                raise exceptions.StorageError(host=self.host.name, action=f"serve {path}", reason="there is no such file")
        yield f"fake://{self.host.name}{path}"

    def fetch_base(self, uri: str, sha256: str, path: str) -> int:
        name, _, source_path = uri.removeprefix("fake://").partition("/")
        with self._at("fetch_base"):
            source = self.cloud.host(name)
            source.require_up()
            base = source.disks[f"/{source_path}"]
            if base.content != sha256:
                raise exceptions.StorageError(host=self.host.name, action=f"fetch {uri}", reason="its content is another")
            self.host.disks[path] = dataclasses.replace(base)
        return base.size_bytes

    # --- parts ------------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _at(self, point: str) -> Iterator[None]:
        """Begin of a method: wait if it is held, fail if it shall, and keep the world still for the body."""
        with self.cloud.changed:
            self.host.come_to(point)
            self.host.require_up()
            if reason := self.host.fault(point):
                raise exceptions.HypervisorError(action=point.replace("_", " "), reason=reason)
            yield

    def _change(self, method: str, server: Server, state: Copy, saved: bool = False) -> None:
        with self._at(method):
            copy = self._copy(server)
            if copy.state in HALF_MADE | GONE:
                raise exceptions.HypervisorError(action=method.replace("_", " "), reason=f"the guest is {copy.state}")
            copy.saved = saved
            if state is Copy.RUNNING and copy.state is Copy.RUNNING_JOB:
                return  # (a reboot while it is copied)
            self.cloud.set_state(self.host, server.uuid, state)

    def _copy(self, server: Server) -> FakeCopy:
        copy = self.host.copies.get(server.uuid)
        if copy is None:
            raise exceptions.GuestNotFound(name=server.domain_name, host=self.host.name)
        return copy

    def _refuse(self, server: Server, reason: str) -> None:
        raise exceptions.UnsafeRemoval(name=server.domain_name, host=self.host.name, reason=reason)

    def _disk_path(self, server: Server) -> str:
        return f"{self.conf.instances_path}/{server.uuid}/disk"

    def _base_path(self, server: Server) -> str:
        assert server.image is not None  # noqa: S101 - callers asked before
        return f"{self.conf.instances_path}/_base/{hashlib.sha1(server.image.id.encode(), usedforsecurity=False).hexdigest()}"

    def _make_disk(self, server: Server, ledger: Ledger, content: str, made: list[str]) -> None:
        path = self._disk_path(server)
        if server.image is not None:
            size_bytes = server.image.size_bytes
            self.host.disks.setdefault(self._base_path(server), FakeDisk("", server.image.sha256, size_bytes))
        with ledger.entry("directory", path.rpartition("/")[0]), ledger.entry("file", path):
            self.host.disks[path] = FakeDisk(server.uuid, content, server.root_gib * GIB)
            made.append(path)

    def _describe_disk(self, server: Server) -> GuestDisk:
        size_bytes = server.root_gib * GIB
        below = "raw" if server.image is not None else ""
        layers = [DiskLayer(self._disk_path(server), "qcow2", size_bytes, ALLOCATED_BYTES, 65536, "1.1", backing_format=below)]
        if server.image is not None:
            base = server.image
            layers.append(
                DiskLayer(
                    self._base_path(server), "raw", size_bytes, base.size_bytes, sha256=base.sha256, file_size_bytes=base.size_bytes
                )
            )
        return GuestDisk("vda", "disk", "file", readonly=False, layers=tuple(layers))

    def _plug(self, server: Server, ledger: Ledger) -> None:
        for vif in server.vifs:
            with ledger.entry("tap", vif.tap):
                self.host.taps[vif.tap] = server.uuid

    def _unplug(self, server: Server) -> None:
        for tap in [tap for tap, owner in self.host.taps.items() if owner == server.uuid]:
            del self.host.taps[tap]


def _forget_all(ledger: Ledger) -> None:
    for artefact in ledger.artefacts():
        ledger.forget(artefact)
