"""What a conductor does about volumes, and what it finds of a conductor that died over it."""

from __future__ import annotations

import dataclasses
import datetime
import pathlib
import threading
import uuid as uuids
from collections.abc import Iterator
from typing import Any

import oslo_messaging
import pytest
from oslo_config import cfg
from oslo_context import context as oslo_context

from nova_blockmigrate import conf as configuration
from nova_blockmigrate.conductor.volumes import ServerVolumes
from nova_blockmigrate.context import RequestContext, logged_for, service_context
from nova_blockmigrate.db import models, schema, session
from nova_blockmigrate.db.queries import actions, instances, migrations, volumes
from nova_blockmigrate.exceptions import VolumeBackendError, VolumeNotFound
from nova_blockmigrate.objects import StepReport, StepState
from nova_blockmigrate.volume.api import Volume
from nova_blockmigrate.volume.fake import FakeBackend, FakeVolumes

VOLUME = str(uuids.uuid4())
SERVER = str(uuids.uuid4())
REQUEST = "req-1"


class FakeComputes:
    """Stands in for ComputeAPI: every host answers, unless it is silent or a job is to fail."""

    def __init__(self) -> None:
        self.jobs: list[tuple[str, str]] = []
        self.failing: dict[str, str] = {}
        self.silent: set[str] = set()
        self.named: list[tuple[str, str | None]] = []
        """The request ids that a job came with, and those that log lines name meanwhile."""

    def get_volume_connector(self, context: Any, host: str, detailed: bool) -> dict[str, Any]:
        self._hear(host)
        return {"host": host, "ip": "192.0.2.1", "initiator": f"iqn.x:{host}", "properties": {}}

    def list_disks(self, context: Any, host: str, server: Any) -> list[str]:
        self._hear(host)
        return ["vda"]

    def run_server_job(self, context: Any, host: str, job: str, server: Any, arguments: Any, wait_s: float) -> StepReport:
        self._hear(host)
        assert arguments["connection"]["host"] == host
        self.jobs.append((host, job))
        self.named += [(each.request_id, each.global_request_id) for each in (context, oslo_context.get_current()) if each]
        if job in self.failing:
            return StepReport(StepState.FAILED, error=self.failing[job])
        return StepReport(StepState.DONE, 1)

    def _hear(self, host: str) -> None:
        if host in self.silent:
            raise oslo_messaging.MessagingTimeout(f"{host} is silent")


@dataclasses.dataclass
class World:
    under_test: ServerVolumes
    computes: FakeComputes
    storage: FakeVolumes

    @property
    def rights(self) -> list[str]:
        """Hosts that may use the volume."""
        return sorted(host for _, _, host in self.storage.rights)

    def mapping(self) -> models.BlockDeviceMapping | None:
        with session.reader() as db:
            return volumes.find(db, VOLUME)

    def noted(self) -> list[str]:
        """The same, as the database has it."""
        mapping = self.mapping()
        return sorted(each.host for each in mapping.attachments) if mapping else []

    def server(self) -> models.Instance:
        with session.reader() as db:
            return instances.get(db, SERVER, include_deleted=True)

    def message(self) -> str | None:
        with session.reader() as db:
            return actions.get(db, SERVER, REQUEST).message

    def attach(self) -> None:
        self.under_test.attach(service_context(REQUEST), SERVER, self.mapping().id)  # type: ignore[union-attr]

    def detach(self) -> None:
        with session.writer() as db:
            instances.update(db, SERVER, task_state="detaching-volume")
            volumes.update(db, volumes.find(db, VOLUME).id, state="detaching")  # type: ignore[union-attr]
        self.under_test.detach(service_context(REQUEST), SERVER, self.mapping().id)  # type: ignore[union-attr]


@pytest.fixture
def world(tmp_path: pathlib.Path) -> Iterator[World]:
    """A server on compute1 to which a volume is being attached, as the API has left it."""
    conf = cfg.ConfigOpts()
    configuration.register(conf)
    conf([], default_config_files=[])
    conf.set_override("state_path", str(tmp_path))
    conf.set_override("host_timeout", 1.0, group="conductor")
    session.register(conf)
    schema.sync(conf)
    computes, storage = FakeComputes(), FakeVolumes({VOLUME: Volume(VOLUME, "data", 1, project_id="p")})
    with session.writer() as db:
        server = instances.create(
            db, uuid=SERVER, project_id="p", user_id="u", display_name="vm", hostname="vm", vm_state="active", host="compute1",
            memory_mib=64, vcpus=1, root_gib=1, reservation_id="r-1", task_state="attaching-volume",
        )  # fmt: skip
        actions.start(db, SERVER, "attach_volume", REQUEST, "u", "p")
        volumes.map_volume(db, server, VOLUME, "/dev/vdb", request_id=REQUEST)
    yield World(ServerVolumes(conf, computes, FakeBackend(conf, storage), threading.Event()), computes, storage)  # type: ignore[arg-type]
    session.dispose()


@pytest.fixture
def attached(world: World) -> World:
    world.attach()
    return world


def migrate(status: str = "running") -> int:
    """A migration to compute2 that is under way, or over."""
    with session.writer() as db:
        return migrations.create(
            db, instance_uuid=SERVER, source_compute="compute1", source_node="compute1", dest_compute="compute2", status=status,
            user_id="u", project_id="p", request_id=REQUEST,
        ).id  # fmt: skip


def test_attaching_gives_the_host_a_right_then_the_guest_a_disk(world: World) -> None:
    world.attach()

    assert world.storage.rights == {(VOLUME, SERVER, "compute1"): True}
    assert (world.mapping().state, world.noted()) == ("attached", ["compute1"])  # type: ignore[union-attr]
    assert (world.computes.jobs, world.server().task_state, world.message()) == ([("compute1", "attach_volume")], None, None)


@pytest.mark.parametrize("where", ["host", "create_attachment", "complete_attachment"])
def test_what_fails_half_way_is_undone(world: World, where: str) -> None:
    if where == "host":
        world.computes.failing["attach_volume"] = "no slot is free"
    else:
        world.storage.trouble[where] = "no slot is free"

    world.attach()

    assert (world.mapping(), world.rights, world.server().task_state) == (None, [], None)
    assert "no slot is free" in (world.message() or "")


def test_a_host_that_falls_silent_is_asked_again_until_the_volume_is_off(world: World) -> None:
    world.computes.silent.add("compute1")
    with session.writer() as db:  # it fell silent after it was given the right
        given = volumes.add_attachment(db, volumes.find(db, VOLUME).id, "compute1")  # type: ignore[union-attr]
        volumes.update_attachment(db, given.id, attachment_id="a", protocol="iscsi", connection={})
    world.storage.rights[VOLUME, SERVER, "compute1"] = False

    world.attach()
    assert (world.server().task_state, world.mapping().state, world.rights) == (None, "detaching", ["compute1"])  # type: ignore[union-attr]
    world.computes.silent.clear()
    world.under_test.watch()

    assert (world.mapping(), world.rights, world.computes.jobs) == (None, [], [("compute1", "detach_volume")])


def test_a_conductor_that_died_while_attaching_leaves_nothing(world: World) -> None:
    with session.writer() as db:
        mapping = volumes.find(db, VOLUME)
        volumes.add_attachment(db, mapping.id, "compute1")  # type: ignore[union-attr]
        volumes.update(db, mapping.id, busy_until=models.utcnow() - datetime.timedelta(seconds=1))  # type: ignore[union-attr]
    world.storage.rights[VOLUME, SERVER, "compute1"] = False  # the backend's answer was not noted any more

    world.under_test.watch()

    assert (world.mapping(), world.rights, world.server().task_state) == (None, [], None)
    assert "died" in (world.message() or "")


def test_what_a_dead_conductor_left_is_finished_under_the_ids_of_its_request(world: World) -> None:
    with session.writer() as db:
        mapping = volumes.find(db, VOLUME)
        given = volumes.add_attachment(db, mapping.id, "compute1")  # type: ignore[union-attr]
        volumes.update_attachment(db, given.id, attachment_id="a", protocol="iscsi", connection={})
        gone = models.utcnow() - datetime.timedelta(seconds=1)
        volumes.update(db, mapping.id, busy_until=gone, global_request_id="req-a")  # type: ignore[union-attr]

    with logged_for(service_context("req-of-the-watch")):
        world.under_test.watch()
        after = oslo_context.get_current().request_id

    assert world.computes.jobs == [("compute1", "detach_volume")]
    assert world.computes.named == [(REQUEST, "req-a")] * 2
    assert after == "req-of-the-watch"


def test_one_that_is_still_being_attached_is_left_alone(world: World) -> None:
    with session.writer() as db:
        volumes.update(db, volumes.find(db, VOLUME).id, busy_until=volumes.patience())  # type: ignore[union-attr]
    world.under_test.watch()
    assert world.mapping() is not None


def test_detaching_takes_the_disk_then_the_right(attached: World) -> None:
    attached.detach()
    assert (attached.mapping(), attached.rights, attached.server().task_state) == (None, [], None)
    assert attached.computes.jobs[-1] == ("compute1", "detach_volume")


def test_a_disk_that_the_guest_keeps_stays_attached(attached: World) -> None:
    attached.computes.failing["detach_volume"] = "the guest did not let go of vdb"
    attached.detach()
    assert (attached.mapping().state, attached.rights, attached.server().task_state) == ("attached", ["compute1"], None)  # type: ignore[union-attr]
    assert "did not let go" in (attached.message() or "")


def test_a_right_that_the_backend_does_not_take_back_is_taken_later(attached: World) -> None:
    attached.storage.trouble["delete_attachment"] = "it is away"
    attached.detach()
    assert (attached.mapping().state, attached.server().task_state) == ("detaching", None)  # type: ignore[union-attr]
    attached.storage.trouble.clear()
    attached.under_test.watch()
    assert (attached.mapping(), attached.rights) == (None, [])


def test_in_a_migration_a_second_host_gets_in_and_the_first_goes(attached: World) -> None:
    migrate()
    attached.under_test.give(service_context(REQUEST), SERVER, "compute2")
    attached.under_test.give(service_context(REQUEST), SERVER, "compute2")  # (a conductor that took over does it again)
    assert attached.rights == attached.noted() == ["compute1", "compute2"]
    attached.under_test.complete(SERVER, "compute2")
    attached.under_test.take(SERVER, "compute1")
    assert attached.storage.rights == {(VOLUME, SERVER, "compute2"): True}
    assert attached.noted() == ["compute2"]


def test_a_server_without_volumes_asks_nobody(world: World) -> None:
    world.under_test.backend.world.trouble = {"create_attachment": "never"}  # type: ignore[attr-defined]
    with session.writer() as db:
        volumes.unmap(db, volumes.find(db, VOLUME).id)  # type: ignore[union-attr]
    world.computes.silent.add("compute2")
    world.under_test.give(service_context(REQUEST), SERVER, "compute2")


def test_a_right_of_a_destination_is_nobodys_once_the_migration_is_over(attached: World) -> None:
    migration = migrate()
    attached.under_test.give(service_context(REQUEST), SERVER, "compute2")
    attached.under_test.watch()
    assert attached.rights == ["compute1", "compute2"], "it is under way"
    with session.writer() as db:
        migrations.update(db, migration, status="failed")
    attached.under_test.watch()
    assert attached.rights == attached.noted() == ["compute1"]


def test_rights_that_cannot_be_ended_are_tried_for_again(attached: World) -> None:
    migrate("failed")
    attached.under_test.give(service_context(REQUEST), SERVER, "compute2")
    attached.storage.trouble["delete_attachment"] = "it is away"
    with pytest.raises(VolumeBackendError):
        attached.under_test.take(SERVER, "compute2")
    attached.under_test.watch()
    assert attached.noted() == ["compute1", "compute2"]
    attached.storage.trouble.clear()
    attached.under_test.watch()
    assert attached.noted() == attached.rights == ["compute1"]


@pytest.mark.parametrize("goes_along", [False, True])
def test_a_deleted_server_gives_its_volumes_back(attached: World, goes_along: bool) -> None:
    with session.writer() as db:
        volumes.update(db, volumes.find(db, VOLUME).id, delete_on_termination=goes_along)  # type: ignore[union-attr]
    attached.under_test.release(attached.server())
    assert (attached.mapping(), attached.rights, VOLUME in attached.storage.volumes) == (None, [], not goes_along)


def test_volumes_of_a_deleted_server_are_given_back_when_the_backend_answers_again(attached: World) -> None:
    attached.storage.trouble["delete_attachment"] = "it is away"
    attached.under_test.release(attached.server())
    with session.writer() as db:
        instances.mark_deleted(db, SERVER)
    attached.storage.trouble.clear()
    attached.under_test.watch()
    assert (attached.mapping(), attached.rights) == (None, [])


def test_a_server_deleted_while_a_volume_is_attached_leaves_no_right(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    create = world.under_test.backend.create_attachment

    def delete_meanwhile(*arguments: Any) -> Any:
        given = create(*arguments)
        with session.writer() as db:
            volumes.unmap(db, volumes.find(db, VOLUME).id)  # type: ignore[union-attr]
            instances.mark_deleted(db, SERVER)
        return given

    monkeypatch.setattr(world.under_test.backend, "create_attachment", delete_meanwhile)
    world.attach()
    assert (world.mapping(), world.rights) == (None, [])


def test_problems_are_told_for_the_checks(attached: World) -> None:
    assert attached.under_test.problems(attached.server()) == ()
    attached.storage.trouble["check"] = "tgtd does not run"
    assert "tgtd does not run" in attached.under_test.problems(attached.server())[0]
    attached.storage.trouble.clear()
    with session.writer() as db:
        volumes.update(db, volumes.find(db, VOLUME).id, state="detaching")  # type: ignore[union-attr]
    assert attached.under_test.problems(attached.server()) == (f"volume {VOLUME} is detaching",)


def request_of(project: str, is_admin: bool = False) -> RequestContext:
    return RequestContext(project_id=project, is_admin=is_admin, request_id=REQUEST, overwrite=False)


def give_to(world: World, project: str) -> None:
    """The volume becomes another project's, or with "" nobody's."""
    world.storage.volumes[VOLUME] = dataclasses.replace(world.storage.volumes[VOLUME], project_id=project)


@pytest.mark.parametrize("owner", ["other", ""])
def test_a_volume_of_another_project_does_not_exist(world: World, owner: str) -> None:
    give_to(world, owner)
    with pytest.raises(VolumeNotFound):
        world.under_test.look(request_of("p"), SERVER, VOLUME)
    with pytest.raises(VolumeNotFound):
        world.under_test.find(request_of("p"), VOLUME, "p")


def test_a_volume_that_changed_hands_meanwhile_is_not_attached(world: World) -> None:
    give_to(world, "other")
    world.under_test.attach(request_of("p"), SERVER, world.mapping().id)  # type: ignore[union-attr]
    assert (world.mapping(), world.rights, world.computes.jobs, world.server().task_state) == (None, [], [], None)
    assert "could not be found" in (world.message() or "")


@pytest.mark.parametrize("owner", ["other", ""])
def test_an_administrator_may_lend_one_and_it_outlives_the_server(world: World, owner: str) -> None:
    give_to(world, owner)
    assert world.under_test.look(request_of("q", is_admin=True), SERVER, VOLUME)["problem"] == ""
    world.under_test.attach(request_of("q", is_admin=True), SERVER, world.mapping().id)  # type: ignore[union-attr]
    assert world.rights == ["compute1"]
    with session.writer() as db:  # (the server's members may say so)
        volumes.update(db, volumes.find(db, VOLUME).id, delete_on_termination=True)  # type: ignore[union-attr]
    world.under_test.release(world.server())
    assert (world.mapping(), world.rights, VOLUME in world.storage.volumes) == (None, [], True)


def test_a_volume_that_is_gone_does_not_hold_up_the_end_of_its_server(attached: World) -> None:
    with session.writer() as db:
        volumes.update(db, volumes.find(db, VOLUME).id, delete_on_termination=True)  # type: ignore[union-attr]
    attached.storage.volumes.clear()
    attached.under_test.release(attached.server())
    assert attached.mapping() is None


def test_looking_at_a_volume_names_the_guests_disks(world: World) -> None:
    assert world.under_test.look(service_context(), SERVER, VOLUME) == {"problem": "", "disks": ["vda"]}
