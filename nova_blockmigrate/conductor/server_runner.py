"""The tasks of servers that this conductor works at: takes leases, keeps them, takes over what nobody works at."""

from __future__ import annotations

import threading

from oslo_config import cfg
from oslo_log import log

from nova_blockmigrate import concurrency
from nova_blockmigrate.conductor import hosts, identity
from nova_blockmigrate.conductor.servers import ServerTasks
from nova_blockmigrate.context import service_context
from nova_blockmigrate.db import models, session
from nova_blockmigrate.db.queries import server_tasks

LOG = log.getLogger(__name__)


class ServerRunner:
    def __init__(self, conf: cfg.ConfigOpts, owner: str, tasks: ServerTasks) -> None:
        self._conf, self._owner, self._tasks = conf, owner, tasks
        self._lock = threading.Lock()
        self._running: set[str] = set()

    def start(self, server_uuid: str) -> None:
        """Work at a server's task, if nobody does."""
        with self._lock:
            if server_uuid in self._running or not self._take(server_uuid):
                return
            self._running.add(server_uuid)
        concurrency.spawn(f"server-{server_uuid}", self._run, server_uuid)

    def take_over(self) -> None:
        """Work at what no living conductor works at: requests whose message was lost, and what a dead conductor left."""
        with session.reader() as db:
            free = server_tasks.without_owner(db, models.utcnow())
        for server_uuid in free:
            self.start(server_uuid)

    def take_after_restart(self) -> None:
        """Leases of processes of this host that died need not run out first."""
        with session.writer() as db:
            for owner in server_tasks.owners(db):
                if identity.is_dead_here(owner, self._conf.host):
                    server_tasks.release_leases(db, owner)
        self.take_over()

    def renew(self) -> None:
        """Keep the leases of what is worked at here."""
        with self._lock:
            running = list(self._running)
        for server_uuid in running:
            self._take(server_uuid)

    def give_up(self) -> None:
        """This conductor stops: what it has not finished is free at once."""
        with session.writer() as db:
            server_tasks.release_leases(db, self._owner)

    @session.retried
    def _take(self, server_uuid: str) -> bool:
        with session.writer() as db:
            return server_tasks.take_lease(db, server_uuid, self._owner, models.utcnow(), self._conf.conductor.lease_time)

    def _run(self, server_uuid: str) -> None:
        try:
            while (task := self._task(server_uuid)) is not None:
                context = service_context(task.request_id, task.global_request_id)
                context.update_store()  # of the task before, perhaps
                session.retried(self._tasks.do)(context, server_uuid, task.action, task.arguments)
        except hosts.Stopping:
            LOG.info("[server %s] left to another conductor: this one stops", server_uuid)
        except Exception:  # the border of a task: it is taken up again when the lease has run out
            LOG.exception("[server %s] its task failed; it is taken up again", server_uuid)
            return
        finally:
            with self._lock:
                self._running.discard(server_uuid)
        with session.writer() as db:
            server_tasks.release_lease(db, server_uuid, self._owner)

    @staticmethod
    def _task(server_uuid: str) -> models.ServerTask | None:
        with session.reader() as db:
            return server_tasks.find(db, server_uuid)
