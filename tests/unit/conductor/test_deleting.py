"""Servers that are deleted twice: the second request is served when the first one has been."""

from __future__ import annotations

import threading
from typing import Any, cast

from oslo_config import cfg

from nova_blockmigrate import conf as configuration
from nova_blockmigrate.conductor.server_ports import ServerPorts
from nova_blockmigrate.conductor.servers import ServerTasks
from nova_blockmigrate.context import service_context
from nova_blockmigrate.db import models, session
from nova_blockmigrate.db.queries import actions, instances, server_tasks
from nova_blockmigrate.network.backend import Embedded
from tests.unit.conductor.test_firewall import Computes, database  # noqa: F401 - a fixture


class Volumes:
    def release(self, instance: models.Instance) -> None:
        """There are none."""


def test_a_server_may_be_deleted_twice(database: None) -> None:  # noqa: F811
    conf = cfg.ConfigOpts()
    configuration.register(conf)
    conf([], default_config_files=[])
    tasks = ServerTasks(conf, cast(Any, Computes()), threading.Event(), cast(Any, Volumes()), ServerPorts(conf, Embedded(conf)))
    with session.writer() as db:
        server = instances.create(
            db, project_id="p", user_id="u", display_name="lm", hostname="lm", vm_state="active", memory_mib=64, vcpus=1,
            root_gib=1, reservation_id="r", task_state="deleting",
        ).uuid  # fmt: skip
        for request in ("req-1", "req-2"):
            actions.start(db, server, "delete", request, "u", "p")
            server_tasks.put(db, server, "delete", {}, request)

    done = []
    for request in ("req-1", "req-2"):
        tasks.do(service_context(request), server, "delete", {})
        with session.reader() as db:
            task = server_tasks.find(db, server)
            done.append((task.request_id if task else None, actions.get(db, server, request).finish_time is not None))
    assert done == [("req-2", True), (None, True)]
