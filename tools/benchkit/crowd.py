"""One process of `tools/bench scale`, run by the product's own Python: `crowd.py ROLE CONFIGURATION SIZES`.

ROLE is seed (fills the database and ends), hosts (all compute services, over one world in memory), conductor or api. After its
start it prints a line, answers each line that it reads with its counters as JSON, and ends with its input.

Counted are SQL statements and messages sent. What services do anyway, whether or not anything migrates (reports, leases, looks for
what nobody runs), is counted apart.
"""

import collections
import functools
import json
import os
import sys
import threading
import uuid
from collections.abc import Callable
from typing import Any

IMAGE = "10000000-0000-4000-8000-000000000001"
SHA256 = "ab" * 32
NAMESPACE = uuid.UUID("20000000-0000-4000-8000-000000000000")
FLAVOR = {"name": "m1.small", "memory_mib": 256, "vcpus": 1, "root_gib": 1}
PERIODIC_CALLS = ("report_host", "guests_of_host")
HOST_ANSWER_S = 300.0
EXPLAIN = bool(os.environ.get("NBM_BENCH_EXPLAIN"))
PERIODIC_WORK = (
    ("conductor.manager", "ConductorManager", PERIODIC_CALLS),
    ("conductor.service", "ConductorService", ("_report",)),
    ("conductor.runner", "MigrationRunner", ("renew", "take_over")),
    ("conductor.server_runner", "ServerRunner", ("renew", "take_over")),
    ("conductor.volumes", "ServerVolumes", ("watch",)),
)


def _place() -> str:
    """The functions of ours that are being run, the innermost last."""
    frame, found = sys._getframe(1), []
    while frame is not None and len(found) < 4:
        path = frame.f_code.co_filename
        if "nova_blockmigrate/" in path and "/session.py" not in path and "/rows.py" not in path:
            found.append(f"{path.rpartition('/')[2].removesuffix('.py')}.{frame.f_code.co_name}:{frame.f_lineno}")
        frame = frame.f_back  # type: ignore[assignment]
    return " < ".join(found)


def host_name(number: int) -> str:
    return f"host{number:03d}"


def server_uuid(number: int) -> str:
    return str(uuid.uuid5(NAMESPACE, str(number)))


class Counters:
    """What this process did so far."""

    def __init__(self) -> None:
        self.queries = self.periodic_queries = 0
        self.messages: collections.Counter[str] = collections.Counter()
        """Sent, by the method that they call; "reply" for answers."""
        self.places: collections.Counter[str] = collections.Counter()
        """Statements by the functions that made them, where NBM_BENCH_EXPLAIN is set."""
        self._now = threading.local()

    def count_queries(self, engine: Any) -> None:
        import sqlalchemy as sa

        @sa.event.listens_for(engine, "before_cursor_execute")
        def count(*arguments: Any) -> None:
            if getattr(self._now, "periodic", False):
                self.periodic_queries += 1
            else:
                self.queries += 1
                if EXPLAIN:
                    self.places[_place()] += 1

    def count_messages(self) -> None:
        from oslo_messaging._drivers import impl_rabbit

        publish = impl_rabbit.Connection._publish

        @functools.wraps(publish)
        def counted(connection: Any, exchange: Any, message: Any, *arguments: Any, **options: Any) -> Any:
            self.messages[json.loads(message["oslo.message"]).get("method", "reply")] += 1
            return publish(connection, exchange, message, *arguments, **options)

        impl_rabbit.Connection._publish = counted

    def set_apart_what_is_periodic(self) -> None:
        import importlib

        for module, name, methods in PERIODIC_WORK:
            kind = getattr(importlib.import_module(f"nova_blockmigrate.{module}"), name)
            for method in methods:
                setattr(kind, method, self._periodic(getattr(kind, method)))

    def _periodic(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def apart(*arguments: Any, **options: Any) -> Any:
            self._now.periodic = True
            try:
                return function(*arguments, **options)
            finally:
                self._now.periodic = False

        return apart

    def read(self) -> dict[str, Any]:
        with open("/proc/self/statm") as file:
            pages = int(file.read().split()[1])
        times = os.times()
        calls = sum(self.messages[name] for name in PERIODIC_CALLS)
        return {
            "queries": self.queries,
            "periodic_queries": self.periodic_queries,
            "messages": sum(self.messages.values()) - calls,
            "periodic_calls": calls,
            "by_method": dict(self.messages),
            "places": dict(self.places),
            "processor_s": times.user + times.system,
            "resident_mib": pages * os.sysconf("SC_PAGE_SIZE") / 1024**2,
        }


def seed(conf: Any, sizes: dict[str, int]) -> None:
    """Hosts, a flavor, an image and servers that run, as if they had been there for long."""
    import sqlalchemy as sa

    from nova_blockmigrate.api.auth import TokenFile
    from nova_blockmigrate.db import models, schema, session
    from nova_blockmigrate.db.queries import flavors, images

    schema.sync(conf)
    now = models.utcnow()
    with session.writer() as db:
        flavor = flavors.create(db, **FLAVOR)
        image: dict[str, Any] = {"id": IMAGE, "name": "guest", "disk_format": "qcow2", "size_bytes": 2**24, "sha256": SHA256}
        images.create(db, **image)
        rows = [
            {
                "id": number + 1,
                "uuid": server_uuid(number),
                "project_id": "admin",
                "user_id": "admin",
                "display_name": f"vm{number}",
                "hostname": f"vm{number}",
                "host": host_name(number % sizes["hosts"]),
                "node": host_name(number % sizes["hosts"]),
                "vm_state": "active",
                "power_state": 1,
                "image_id": IMAGE,
                "image_format": "qcow2",
                "image_size_bytes": 2**24,
                "image_sha256": SHA256,
                "flavor": {**FLAVOR, "flavorid": flavor.flavorid, "extra_specs": {}},
                "memory_mib": FLAVOR["memory_mib"],
                "vcpus": 1,
                "root_gib": 1,
                "reservation_id": "r-scale",
                "created_at": now,
                "launched_at": now,
            }
            for number in range(sizes["servers"])
        ]
        db.execute(sa.insert(models.Instance), rows)
    if session.engine().dialect.name == "postgresql":
        with session.schema_writer() as connection:
            connection.exec_driver_sql("SELECT setval('instances_id_seq', (SELECT max(id) FROM instances))")
            connection.exec_driver_sql("ANALYZE")
    token = TokenFile(conf.api.token_file).add("admin", "admin", ("admin",), "admin", "2026-01-01T00:00:00Z")
    print(json.dumps({"token": token}), flush=True)


def hosts(conf: Any, sizes: dict[str, int]) -> None:
    """All compute services; the guests are in the world already."""
    from nova_blockmigrate.compute.service import ComputeService
    from nova_blockmigrate.objects import Copy, ImageRef, Server
    from nova_blockmigrate.virt import fake_cloud
    from nova_blockmigrate.virt.fake import GIB, FakeDriver

    cloud = fake_cloud.shared()
    image = ImageRef(IMAGE, "qcow2", 2**24, SHA256)
    for number in range(sizes["servers"]):
        host = cloud.host(host_name(number % sizes["hosts"]))
        name = f"instance-{number + 1:08x}"
        server = Server(server_uuid(number), name, f"vm{number}", FLAVOR["memory_mib"], 1, 1, image)
        driver = FakeDriver(conf, cloud)
        host.disks[driver._disk_path(server)] = fake_cloud.FakeDisk(server.uuid, "content", GIB)
        host.disks.setdefault(driver._base_path(server), fake_cloud.FakeDisk("", SHA256, 2**24))
        host.copies[server.uuid] = fake_cloud.FakeCopy(server, Copy.RUNNING, memory="memory")
    for number in range(sizes["hosts"]):
        ComputeService(conf, FakeDriver(conf, cloud), host_name(number)).start()


def conductor(conf: Any, sizes: dict[str, int]) -> None:
    """All hosts are one process here: they get more time to answer than a host has that is a machine."""
    from nova_blockmigrate.compute import rpcapi

    rpcapi.ANSWER_TIME_S = HOST_ANSWER_S
    from nova_blockmigrate.conductor.service import ConductorService

    ConductorService(conf).start()


def api(conf: Any, sizes: dict[str, int]) -> None:
    from nova_blockmigrate.api.server import ApiService

    ApiService(conf).start()


ROLES = {"seed": seed, "hosts": hosts, "conductor": conductor, "api": api}


def main(role: str, configuration: str, sizes: str) -> None:
    from nova_blockmigrate import concurrency

    concurrency.setup(concurrency.chosen_mode(["--config-file", configuration]))
    from nova_blockmigrate import conf as options
    from nova_blockmigrate.db import session

    conf = options.load(["--config-file", configuration])
    counters = Counters()
    counters.count_messages()
    if role == "conductor":
        counters.set_apart_what_is_periodic()
    configure = session.configure

    def configured(conf: Any) -> None:
        configure(conf)
        counters.count_queries(session.engine())

    session.configure = configured
    ROLES[role](conf, json.loads(sizes))
    if role == "seed":
        return
    print(json.dumps({"started": True}), flush=True)
    while concurrency.run_native(sys.stdin.readline):
        print(json.dumps(counters.read()), flush=True)
    os._exit(0)  # at once: nothing of a measurement needs an orderly end


if __name__ == "__main__":
    main(*sys.argv[1:])
