"""As much of Nova as our modules for its end of a live migration touch: a database with one server, and a compute manager."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
import types
from collections.abc import Iterator
from typing import Any

import oslo_messaging
from keystoneauth1.exceptions import ClientException


class InstanceNotFound(Exception):
    def __init__(self, instance_id: str = "") -> None:
        super().__init__(instance_id)


class MigrationNotFound(Exception): ...


class MigrationError(Exception):
    def __init__(self, reason: str) -> None:
        super().__init__(reason)


class PortBindingActivationFailed(Exception): ...


class NeutronClientException(Exception): ...


class Stored(types.SimpleNamespace):
    """A row: a copy of it is what the database gives, and saving writes the copy back."""

    row: Stored | None = None
    migration_type = "live-migration"

    def save(self, expected_task_state: list[str | None] | None = None) -> None:
        assert self.row is not None
        if expected_task_state is not None and self.row.task_state not in expected_task_state:
            raise RuntimeError(f"unexpected task {self.row.task_state}")
        for name, value in vars(self).items():
            if name != "row":
                setattr(self.row, name, value)

    def obj_clone(self) -> Stored:
        return type(self)(**{**vars(self), "row": self.row or self})

    def obj_reset_changes(self, fields: list[str], recursive: bool) -> None: ...

    def obj_to_primitive(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "row"}

    def __contains__(self, name: str) -> bool:
        return hasattr(self, name)


@dataclasses.dataclass
class Database:
    instance: Stored | None
    migrations: list[Stored]
    away: list[BaseException] = dataclasses.field(default_factory=list)
    """What the next questions are answered with."""

    def get_instance(self, context: Any, uuid: str, expected_attrs: Any = ()) -> Stored:
        self._answer()
        if self.instance is None or (self.instance.deleted and getattr(context, "read_deleted", "no") == "no"):
            raise InstanceNotFound(uuid)
        return self.instance.obj_clone()

    def get_migration(self, context: Any, uuid: str) -> Stored:
        self._answer()
        for each in self.migrations:
            if each.uuid == uuid:
                return each.obj_clone()
        raise MigrationNotFound(uuid)

    def list_migrations(self, context: Any, filters: Any) -> list[Stored]:
        self._answer()
        return [each.obj_clone() for each in self.migrations]

    def _answer(self) -> None:
        if self.away:
            raise self.away.pop(0)


class Queues:
    """Who answers `ping`."""

    def __init__(self) -> None:
        self.silent: dict[tuple[str, str | None], int] = {}
        """How often nobody answers, by topic and server."""
        self.asked: list[tuple[str, str | None]] = []

    def get_client(self, target: Any) -> Any:
        def prepare(server: str | None, timeout: float) -> Any:
            def call(context: Any, method: str, arg: str) -> None:
                asked = (target.topic, server)
                self.asked.append(asked)
                if self.silent.get(asked, 0) > 0:
                    self.silent[asked] -= 1
                    raise oslo_messaging.MessagingTimeout

            return types.SimpleNamespace(call=call)

        return types.SimpleNamespace(prepare=prepare)


def database(host: str = "a", task_state: str | None = "migrating", status: str = "running") -> Database:
    """Server "s" with its migration "m"."""
    instance = Stored(uuid="s", host=host, task_state=task_state, deleted=False, progress=0)
    return Database(instance, [Stored(id=1, uuid="m", status=status, instance_uuid="s", dest_compute="b")])


class Events:
    """Actions' events, as users see them."""

    def __init__(self) -> None:
        self.details: list[str] = []

    @contextlib.contextmanager
    def reporter(self, context: Any, name: str, host: str, *uuids: str, graceful_exit: bool = False) -> Iterator[None]:
        try:
            yield
        except MigrationError as error:
            self.details.append(str(error))
            raise


def module(name: str, **content: Any) -> None:
    made = types.ModuleType(name)
    vars(made).update(content)
    if "." in name:
        parent, _, own = name.rpartition(".")
        setattr(sys.modules[parent], own, made)
    sys.modules[name] = made


@contextlib.contextmanager
def installed(kept: Database, queues: Queues, events: Events) -> Iterator[None]:
    """Nova is this while the body runs; what of ours was imported meanwhile is forgotten."""
    before = {name: sys.modules.pop(name) for name in list(sys.modules) if name.split(".")[0] in ("nova", "neutronclient")}
    known = set(sys.modules)
    try:
        _install(kept, queues, events)
        yield
    finally:
        for name in set(sys.modules) - known:
            if name.startswith(("nova.", "neutronclient", "nova_blockmigrate.nova_driver.")) or name == "nova":
                parent, _, own = name.rpartition(".")
                vars(sys.modules.get(parent, sys)).pop(own, None)  # a package keeps its modules by themselves
                del sys.modules[name]
        sys.modules.update(before)


def _install(kept: Database, queues: Queues, events: Events) -> None:
    exceptions = {"InstanceNotFound": InstanceNotFound, "MigrationNotFound": MigrationNotFound, "MigrationError": MigrationError}
    module("nova", __path__=[])
    module("nova.context", get_admin_context=lambda read_deleted="no": types.SimpleNamespace(read_deleted=read_deleted))
    module("nova.exception", **exceptions, CellTimeout=TimeoutError, PortBindingActivationFailed=PortBindingActivationFailed)
    module(
        "nova.objects",
        __path__=[],
        Instance=types.SimpleNamespace(get_by_uuid=kept.get_instance),
        Migration=types.SimpleNamespace(get_by_uuid=kept.get_migration),
        MigrationList=types.SimpleNamespace(get_by_filters=kept.list_migrations),
    )
    loads = types.SimpleNamespace(obj_from_primitive=lambda primitive, context: Stored(**primitive))
    module("nova.objects.base", NovaObject=loads)
    module("nova.rpc", get_client=queues.get_client)
    module("nova.compute", __path__=[])
    module("nova.compute.rpcapi", RPC_TOPIC="compute", RPC_TOPIC_ALT="compute-alt")
    module("nova.compute.power_state", SHUTDOWN=4)
    module("nova.compute.task_states", MIGRATING="migrating")
    module("nova.compute.utils", EventReporter=events.reporter)
    module("neutronclient", __path__=[])
    module("neutronclient.common", __path__=[])
    module("neutronclient.common.exceptions", NeutronClientException=NeutronClientException)


class Placement:
    """Who holds what the server had on its source."""

    def __init__(self) -> None:
        self.holder = "m"
        self.away: list[bool] = []
        """Whether the next questions have no answer."""

    def get_allocs_for_consumer(self, context: Any, consumer: str) -> dict[str, Any]:
        if self.away and self.away.pop(0):
            raise ClientException
        return {"allocations": {"provider": {}} if consumer == self.holder else {}}

    def move_allocations(self, context: Any, source: str, target: str) -> bool:
        assert self.holder == source
        self.holder = target
        return True


class Manager:
    """Nova's compute manager: what its methods do to the database when nothing fails, and what they were called with."""

    def __init__(self, kept: Database) -> None:
        self._kept = kept
        self.called: list[str] = []
        self.errors: dict[str, list[Exception]] = {}
        """What the next calls of a method end with."""
        self.reportclient = Placement()

    def _note(self, name: str) -> None:
        self.called.append(name)
        if errors := self.errors.get(name):
            raise errors.pop(0)

    def _post_live_migration(self, context: Any, instance: Any, dest: str, *more: Any, source_bdms: Any = None) -> None:
        self._note("post")
        self._move_to(dest)

    def post_in_any_case(self, context: Any, instance: Any, dest: str, *more: Any) -> None:
        """`_post_live_migration_update_host`: records the server on the destination, whatever fails."""
        assert self._kept.instance is not None
        self._kept.instance.host, self._kept.instance.task_state = dest, None
        self._note("post in any case")

    def recover(self, context: Any, instance: Any, dest: str, migrate_data: Any, migration_status: str) -> None:
        self._note(f"recover as {migration_status}")
        assert self._kept.instance is not None
        if self._kept.instance.task_state != "migrating":
            raise RuntimeError("unexpected task")
        self._kept.instance.task_state = None
        self._kept.migrations[0].status = migration_status
        with contextlib.suppress(ClientException):  # as Nova's does
            if self.reportclient.get_allocs_for_consumer(context, "m")["allocations"]:
                self.reportclient.move_allocations(context, "m", "s")

    def _delete_allocation_after_move(self, context: Any, instance: Any, migration: Any) -> None:
        self._note("allocation")
        self.reportclient.holder = ""

    def _sync_instance_power_state(self, context: Any, instance: Any, power_state: int) -> None:
        self._note(f"power state {power_state}")

    def _move_to(self, host: str) -> None:
        assert self._kept.instance is not None
        if self._kept.instance.task_state != "migrating":
            raise RuntimeError("unexpected task")
        self._kept.instance.host, self._kept.instance.task_state = host, None
        self._kept.migrations[0].status = "completed"
