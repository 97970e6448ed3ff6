"""The API on a real database, with a conductor that only takes notes."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from falcon import testing
from oslo_config import cfg

from nova_blockmigrate import conf as configuration
from nova_blockmigrate import objects
from nova_blockmigrate.api import application, auth
from nova_blockmigrate.db import models, schema, session
from nova_blockmigrate.db.queries import compute_nodes, flavors, images, instances, migrations, server_tasks, services


class RecordingConductor:
    """Stands in for ConductorAPI: remembers what it was told, and fails when told to."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.error: Exception | None = None

    def __getattr__(self, name: str) -> Any:
        def call(context: Any, *arguments: Any) -> Any:
            self.calls.append((name, *arguments))
            if self.error is not None:
                raise self.error
            return "line 1\nline 2\nline 3" if name == "get_console_output" else None

        return call


@dataclasses.dataclass
class Api:
    """A client of the API under test: methods are users, microversions are numbers."""

    app: Any
    conductor: RecordingConductor
    tokens: dict[str, str]

    def request(
        self, method: str, path: str, body: Any = None, minor: int = 96, user: str = "admin", headers: dict[str, str] | None = None
    ) -> testing.Result:
        sent = {"X-Auth-Token": self.tokens.get(user, user), "OpenStack-API-Version": f"compute 2.{minor}"} | (headers or {})
        client = testing.TestClient(lambda environ, start: self.app(environ, start))
        prefix = "" if path.startswith(("/v2", "/blockmigrate")) or path in ("/", "/healthcheck") else "/v2.1"
        return client.simulate_request(method, prefix + path, json=body, headers=sent)

    def get(self, path: str, **options: Any) -> Any:
        answer = self.request("GET", path, **options)
        assert answer.status_code == 200, answer.text
        return answer.json

    def act(self, server: models.Instance, body: dict[str, Any], **options: Any) -> testing.Result:
        return self.request("POST", f"/servers/{server.uuid}/action", body, **options)


def configured(state: pathlib.Path) -> cfg.ConfigOpts:
    conf = cfg.ConfigOpts()
    configuration.register(conf)
    conf([], default_config_files=[])
    conf.set_override("state_path", str(state))
    conf.set_override("token_file", str(state / "tokens.json"), group="api")
    session.register(conf)
    if url := os.environ.get("NBM_TEST_DATABASE"):  # as tests/unit/db does; it is emptied
        conf.set_override("connection", url, group="database")
    return conf


@pytest.fixture(scope="session")
def empty_state(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """What a new database looks like: made once, as that takes longer than most tests."""
    state = tmp_path_factory.mktemp("empty")
    schema.sync(configured(state))
    session.dispose()
    return state


@pytest.fixture
def conf(tmp_path: pathlib.Path, empty_state: pathlib.Path) -> Iterator[cfg.ConfigOpts]:
    conf = configured(tmp_path)
    for file in empty_state.glob("*.sqlite"):
        shutil.copy(file, tmp_path)
    session.configure(conf)
    with session.writer() as db:
        for table in reversed(models.Base.metadata.sorted_tables):
            db.execute(table.delete())
    yield conf
    session.dispose()


@pytest.fixture
def api(conf: cfg.ConfigOpts) -> Api:
    file = auth.TokenFile(conf.api.token_file)
    users = {"admin": ("admin", "admin"), "joe": ("demo", "member"), "eve": ("other", "member"), "boss": ("demo", "manager"),
             "reader": ("demo", "reader")}  # fmt: skip
    tokens = {name: file.add(name, project, (role,), name, "") for name, (project, role) in users.items()}
    conductor = RecordingConductor()
    return Api(application.build(conf, conductor), conductor, tokens)  # type: ignore[arg-type]


def make_host(name: str) -> None:
    resources = objects.HostResources(
        host=name, hypervisor_hostname=name, hypervisor_type="QEMU", hypervisor_version=7002000, libvirt_version=9000000,
        host_ip="192.0.2.1", vcpus=4, vcpus_used=1, memory_mib=4096, memory_used_mib=512, disk_gib=10, disk_used_gib=1,
        disk_free_bytes=2**33, running_vms=0, cpu_info='{"arch": "x86_64"}', uptime="up 1 day",
    )  # fmt: skip
    with session.writer() as db:
        services.report(db, name, "nova-compute", models.utcnow())
        compute_nodes.report(db, resources)


@pytest.fixture
def hosts(conf: cfg.ConfigOpts) -> None:
    for name in ("compute1", "compute2"):
        make_host(name)


@pytest.fixture
def flavor(conf: cfg.ConfigOpts) -> models.Flavor:
    with session.writer() as db:
        return flavors.create(db, flavorid="1", name="m1.tiny", memory_mib=64, vcpus=1, root_gib=1)


@pytest.fixture
def image(conf: cfg.ConfigOpts) -> models.Image:
    with session.writer() as db:
        return images.create(db, name="cirros", disk_format="qcow2", size_bytes=2**20, sha256="0" * 64)


def make_server(**values: Any) -> models.Instance:
    defaults = dict(project_id="demo", user_id="joe", display_name="vm", hostname="vm", vm_state="active", power_state=1)
    places = dict(host="compute1", node="compute1", memory_mib=64, vcpus=1, root_gib=1, reservation_id="r-1", image_id="i")
    flavor = {"flavorid": "1", "name": "m1.tiny", "extra_specs": {}}
    with session.writer() as db:
        return instances.create(db, **(defaults | places | {"flavor": flavor} | values))


@pytest.fixture
def server(hosts: None) -> models.Instance:
    return make_server()


def make_migration(server: models.Instance, status: str = "running", **values: Any) -> models.Migration:
    defaults = dict(instance_uuid=server.uuid, source_compute="compute1", source_node="compute1", dest_compute="compute2")
    with session.writer() as db:
        return migrations.create(
            db, **(defaults | dict(status=status, user_id="joe", project_id="demo", request_id="req-1") | values)
        )


def task(server: models.Instance) -> tuple[str, dict[str, Any]] | None:
    """What a conductor is to do to a server, as the database has it."""
    with session.reader() as db:
        found = server_tasks.find(db, server.uuid)
    return (found.action, found.arguments) if found is not None else None


def stored(server: models.Instance) -> models.Instance:
    with session.reader() as db:
        return instances.get(db, server.uuid, include_deleted=True)
