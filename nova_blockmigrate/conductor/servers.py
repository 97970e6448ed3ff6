"""What is done to servers besides moving them: build, delete, start, stop and the like, one job of a host each."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Sequence
from typing import Any

from oslo_config import cfg
from oslo_log import log
from sqlalchemy import orm

from nova_blockmigrate import concurrency, exceptions
from nova_blockmigrate.compute.rpcapi import ComputeAPI
from nova_blockmigrate.conductor import firewall, hosts, scheduler, server_groups
from nova_blockmigrate.conductor.server_ports import ServerPorts
from nova_blockmigrate.conductor.settings import candidates, server_of
from nova_blockmigrate.conductor.volumes import ServerVolumes
from nova_blockmigrate.context import RequestContext
from nova_blockmigrate.db import models, session
from nova_blockmigrate.db.queries import (
    actions,
    compute_nodes,
    external_events,
    instances,
    migrations,
    networks,
    server_tasks,
    services,
)
from nova_blockmigrate.notifications import servers as notified
from nova_blockmigrate.objects import PowerState, StepReport, TaskState, VmState, to_primitive

LOG = log.getLogger(__name__)

JOB_WAIT_S = 10.0
ARRIVAL_LOOK_S = 0.2
CLEAR = "clear"
"""Task of a server that was deleted while its host was dead: its guest is to go from there, too."""
CLEAR_RETRY_S = 5.0
RESULT = {
    "start": VmState.ACTIVE,
    "stop": VmState.STOPPED,
    "reboot": VmState.ACTIVE,
    "pause": VmState.PAUSED,
    "unpause": VmState.ACTIVE,
    "suspend": VmState.SUSPENDED,
    "resume": VmState.ACTIVE,
}
"""The state a server is in after an action that succeeded."""


@dataclasses.dataclass(frozen=True)
class ServerTasks:
    """Runs actions on servers. Each method is one action from its first to its last database write."""

    conf: cfg.ConfigOpts
    computes: ComputeAPI
    stopping: threading.Event
    volumes: ServerVolumes
    ports: ServerPorts

    def do(self, context: RequestContext, server_uuid: str, action: str, arguments: dict[str, Any]) -> None:
        """Begin an action, or go on with one that another conductor began."""
        if action not in ("build", CLEAR):
            self._await_arrival(server_uuid)
        match action:
            case "build":
                self.build(context, server_uuid, arguments.get("security_groups", ()))
            case "delete":
                self.delete(context, server_uuid)
            case "clear":
                self.clear(context, server_uuid, arguments)
            case _:
                self.act(context, server_uuid, action, arguments)

    def build(self, context: RequestContext, server_uuid: str, group_ids: Sequence[str] = ()) -> None:
        """Choose a host and have the server made there; ends active, or in error with a fault that says why."""
        try:
            instance = self._place(server_uuid)
            instance = self.ports.connect(server_uuid, group_ids)
            self._event(context, instance, "compute__do_build_and_run_instance")
            notified.server_action(context, server_uuid, "build", "start")
            instance = self._give_volumes(context, instance)
            self._refresh_firewall(context, instance)
            power_state = self._ask(context, instance, "build", {})
            self.volumes.complete(server_uuid, instance.host or "")
        except (hosts.JobFailed, exceptions.BlockMigrateError) as error:
            LOG.error("[server %s] could not be built: %s", server_uuid, error)
            self._fail(context, server_uuid, str(error), vm_state=VmState.ERROR.value)
            notified.server_action(context, server_uuid, "build", "error", error)
            return
        self._succeed(
            context,
            server_uuid,
            vm_state=VmState.ACTIVE.value,
            power_state=power_state,
            launched_at=models.utcnow(),
        )
        notified.server_action(context, server_uuid, "build", "end")
        self._refresh_firewall(context, instance)  # groups may have changed while it was built
        LOG.info("[server %s] built on %s", server_uuid, instance.host)

    def delete(self, context: RequestContext, server_uuid: str) -> None:
        """Remove the server from its host, then from the lists. While its host is silent it stays, in task deleting; once that is
        dead by an operator's word it goes from the lists, and from its host when that answers again."""
        with session.reader() as db:
            instance = instances.get(db, server_uuid, include_deleted=True)
        if instance.deleted_at is not None:
            with session.writer() as db:  # it was asked for twice
                actions.finish(db, server_uuid, context.request_id)
                server_tasks.end(db, server_uuid, context.request_id)
            return
        if instance.host is not None:
            self._event(context, instance, "compute_terminate_instance")
        notified.server_action(context, server_uuid, "delete", "start")
        try:
            is_gone = instance.host is None or self._remove_from_host(context, instance)
            self.volumes.release(instance)
            self.ports.disconnect(server_uuid)
        except (hosts.JobFailed, exceptions.BlockMigrateError) as error:
            LOG.error("[server %s] could not be deleted: %s", server_uuid, error)
            self._fail(context, server_uuid, str(error), vm_state=VmState.ERROR.value)
            return
        with session.writer() as db:
            actions.end_open_events(db, server_uuid, context.request_id, "Success")
            actions.finish(db, server_uuid, context.request_id)
            if is_gone:
                server_tasks.end(db, server_uuid, context.request_id)
            else:
                arguments = {"host": instance.host, "server": to_primitive(server_of(instance))}
                server_tasks.put(db, server_uuid, CLEAR, arguments, context.request_id, context.global_request_id)
            networks.release_ports(db, instance.id)
            external_events.forget(db, [server_uuid])
            instances.mark_deleted(db, server_uuid)
        notified.server_action(context, server_uuid, "delete", "end")
        self._refresh_firewall(context, instance)
        LOG.info("[server %s] deleted", server_uuid)

    def clear(self, context: RequestContext, server_uuid: str, arguments: dict[str, Any]) -> None:
        """Have a host that is back delete a guest whose server was deleted meanwhile: asked until it has."""
        while True:
            try:
                self._ask_host(context, arguments["host"], "delete", arguments["server"], {}, patience_s=None)
                break
            except hosts.JobFailed as error:
                LOG.error("[server %s] is left on %s, trying again: %s", server_uuid, arguments["host"], error)
            if self.stopping.wait(CLEAR_RETRY_S):
                raise hosts.Stopping
        with session.writer() as db:
            server_tasks.end(db, server_uuid, context.request_id)
        LOG.info("[server %s] nothing is left of it on %s", server_uuid, arguments["host"])

    def act(self, context: RequestContext, server_uuid: str, action: str, arguments: dict[str, Any]) -> None:
        """start, stop, reboot, pause, unpause, suspend or resume; a failure leaves the state as it was."""
        with session.reader() as db:
            instance = instances.get(db, server_uuid)
        self._event(context, instance, f"compute_{action}_instance")
        notified.server_action(context, server_uuid, action, "start")
        try:
            power_state = self._ask(context, instance, action, arguments)
        except hosts.JobFailed as error:
            LOG.error("[server %s] %s failed: %s", server_uuid, action, error)
            self._fail(context, server_uuid, str(error))
            notified.server_action(context, server_uuid, action, "error", error)
            return
        self._succeed(context, server_uuid, vm_state=RESULT[action].value, power_state=power_state)
        notified.server_action(context, server_uuid, action, "end")

    def console(self, context: RequestContext, server_uuid: str, max_bytes: int) -> str:
        with session.reader() as db:
            instance = instances.get(db, server_uuid)
        if instance.host is None:
            raise exceptions.Conflict(f"Instance {server_uuid} is on no host: it has no console.")
        return self.computes.get_console_output(context, instance.host, to_primitive(server_of(instance)), max_bytes)

    def refresh_ports(self, context: RequestContext, server_uuid: str) -> None:
        """The network service says that something about the server's ports has changed; its host hears of new rules."""
        try:
            if self.ports.refresh(server_uuid):
                firewall.refresh_server(self.computes, context, server_uuid)
        except exceptions.BlockMigrateError as error:
            LOG.warning("[server %s] its ports are shown as they were: %s", server_uuid, error.message)

    # --- inside -----------------------------------------------------------------------------------------------------

    def _await_arrival(self, server_uuid: str) -> None:
        """A guest that has just moved is finished at its host first, which takes moments: nothing is done to it under the hands
        of its migration. Where that cannot get on, the action begins all the same, and fails or not by itself.

        :raises hosts.Stopping: this conductor stops.
        """
        began = time.monotonic()
        while True:
            with session.reader() as db:
                migration = migrations.arriving(db, server_uuid)
            stuck = time.monotonic() - began > self.conf.conductor.host_timeout
            if migration is None or (stuck and migration.reason):
                return
            if self.stopping.wait(ARRIVAL_LOOK_S):
                raise hosts.Stopping

    def _place(self, server_uuid: str) -> models.Instance:
        """Give the server a host: the one its user named, or the best.

        :raises NoValidHost: there is none.
        """
        with session.writer() as db:
            instance = instances.get(db, server_uuid)
            if instance.host is not None:  # another conductor chose it, and may have begun there
                return instance
            known = candidates(self.conf, db, models.utcnow(), server_groups.of(db, instance, lock=True))
            ranked = scheduler.rank(known, instance.memory_mib)
            host = instance.requested_host or (ranked[0] if ranked else None)
            if host not in ranked:
                others = frozenset(one.host for one in known if instance.requested_host not in (None, one.host))
                raise exceptions.NoValidHost(reason=scheduler.why_none(known, instance.memory_mib, exclude=others))
            node = compute_nodes.get_by_host(db, host)
            return instances.update(db, server_uuid, host=host, node=node.hypervisor_hostname, task_state=TaskState.SPAWNING.value)

    def _give_volumes(self, context: RequestContext, instance: models.Instance) -> models.Instance:
        """Let the host use the volume that the server boots from; returns the server with it."""
        if not instance.volumes:
            return instance
        self.volumes.give(context, instance.uuid, instance.host or "")
        with session.reader() as db:
            return instances.get(db, instance.uuid)

    def _refresh_firewall(self, context: RequestContext, instance: models.Instance) -> None:
        """The server came or went: tell the hosts of those whose rules name its groups, while this goes on."""
        if groups := firewall.groups_of(instance):
            concurrency.spawn("refresh", firewall.refresh, self.computes, context, groups)

    def _remove_from_host(self, context: RequestContext, instance: models.Instance) -> bool:
        """Ask the host as often as it takes. Whether the server is gone from there: False when it is silent, and dead by an
        operator's word."""
        while True:
            try:
                self._ask(context, instance, "delete", {})
                return True
            except hosts.HostSilent as error:
                with session.reader() as db:
                    service = services.find(db, instance.host or "", compute_nodes.COMPUTE_BINARY)
                if service is not None and service.forced_down:
                    LOG.warning("[server %s] deleted, but for what is left on %s: %s", instance.uuid, instance.host, error)
                    return False

    def _ask(self, context: RequestContext, instance: models.Instance, job: str, arguments: dict[str, Any]) -> int:
        server, patience_s = to_primitive(server_of(instance)), self.conf.conductor.host_timeout
        return self._ask_host(context, instance.host or "", job, server, arguments, patience_s)

    def _ask_host(
        self, context: RequestContext, host: str, job: str, server: Any, arguments: dict[str, Any], patience_s: float | None
    ) -> int:
        def call() -> StepReport:
            return self.computes.run_server_job(context, host, job, server, arguments, JOB_WAIT_S)

        power_state = hosts.ask_until_done(hosts.Asking(host, job, call, self.stopping, patience_s))
        return int(PowerState(power_state))

    def _event(self, context: RequestContext, instance: models.Instance, name: str) -> None:
        with session.writer() as db:
            actions.start_event(db, instance.uuid, context.request_id, name, instance.host)

    def _succeed(self, context: RequestContext, server_uuid: str, **values: Any) -> None:
        with session.writer() as db:
            instances.update(db, server_uuid, fault=None, **values, **self._ended(db, context, server_uuid))
            actions.end_open_events(db, server_uuid, context.request_id, "Success")
            actions.finish(db, server_uuid, context.request_id)

    @staticmethod
    def _ended(db: orm.Session, context: RequestContext, server_uuid: str) -> dict[str, None]:
        """The task is done: what that sets. Nothing, when it was replaced meanwhile: a server may be deleted at any time."""
        return {"task_state": None} if server_tasks.end(db, server_uuid, context.request_id) else {}

    def _fail(self, context: RequestContext, server_uuid: str, reason: str, **values: Any) -> None:
        fault = {"code": 500, "created": models.utcnow().isoformat() + "Z", "message": reason}
        with session.writer() as db:
            instances.update(db, server_uuid, fault=fault, **values, **self._ended(db, context, server_uuid))
            actions.end_open_events(db, server_uuid, context.request_id, "Error", reason)
            actions.finish(db, server_uuid, context.request_id, reason)
