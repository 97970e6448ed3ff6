"""Volumes of servers: attached, detached, taken along in a migration, given back when a server is deleted.

Whoever gives a host a right to a volume notes it in the database first, and strikes it out after the backend has ended
it. So what a conductor that dies leaves behind can be seen in the rows, and `watch` ends it: rights of hosts on which the
server is not, volumes half attached or half detached, volumes of servers that are gone.
"""

from __future__ import annotations

import contextlib
import dataclasses
import threading
from collections.abc import Callable
from typing import Any, TypeVar

import oslo_messaging
from oslo_config import cfg
from oslo_log import log

from nova_blockmigrate import concurrency, exceptions
from nova_blockmigrate.compute.rpcapi import ComputeAPI
from nova_blockmigrate.conductor import hosts
from nova_blockmigrate.conductor.settings import connection_of, server_of
from nova_blockmigrate.context import RequestContext, logged_for, service_context
from nova_blockmigrate.db import models, session
from nova_blockmigrate.db.queries import actions, instances, volumes
from nova_blockmigrate.objects import MappingState, StepReport, StepState, TaskState, from_primitive, to_primitive
from nova_blockmigrate.volume.api import Connector, Volume, VolumeBackend

LOG = log.getLogger(__name__)

T = TypeVar("T")
JOB_WAIT_S = 10.0
_BUSY_STATES = [TaskState.ATTACHING_VOLUME.value, TaskState.DETACHING_VOLUME.value]
_TROUBLE = (hosts.JobFailed, exceptions.BlockMigrateError)


@dataclasses.dataclass(frozen=True)
class ServerVolumes:
    """What a conductor does about volumes."""

    conf: cfg.ConfigOpts
    computes: ComputeAPI
    backend: VolumeBackend
    stopping: threading.Event

    def find(self, context: RequestContext, volume_id: str, project_id: str | None) -> Volume:
        """A volume that a server of a project is to get, as its backend shows it (to us, who see those of all projects).

        :raises exceptions.VolumeNotFound: there is none, or it is of another project, which only administrators may know.
        """
        volume = self._call(self.backend.get, volume_id)
        if not (context.is_admin or volume.belongs_to(project_id)):
            raise exceptions.VolumeNotFound(volume_id=volume_id)
        return volume

    def look(self, context: RequestContext, server_uuid: str, volume_id: str) -> dict[str, Any]:
        """What the API must know before it maps a volume to a server: {"problem": why the volume cannot be had, "disks": names
        of the disks that the guest has}."""
        with session.reader() as db:
            instance = instances.get(db, server_uuid)
        volume = self.find(context, volume_id, instance.project_id)
        server = to_primitive(server_of(instance))
        try:
            names = self.computes.list_disks(context, instance.host or "", server)
        except (oslo_messaging.MessagingTimeout, oslo_messaging.MessageDeliveryFailure) as error:
            raise exceptions.ComputeServiceUnavailable(host=instance.host) from error
        return {"problem": volume.problem, "disks": names}

    # --- attach and detach ------------------------------------------------------------------------------------------

    def attach(self, context: RequestContext, server_uuid: str, mapping_id: int) -> None:
        """Attach a volume to a server, which the API has mapped to it; all of it, or nothing of it."""
        try:
            instance, mapping = self._begin(context, server_uuid, mapping_id, "compute_attach_volume")
        except exceptions.NotFound:
            return  # deleted, or undone, meanwhile
        try:
            host = instance.host or ""
            self.find(context, mapping.volume_id, instance.project_id)  # (it may have changed hands since the API looked)
            self._give(server_uuid, mapping, host, self.connector(context, host))
            self._ask(context, server_uuid, mapping_id, "attach_volume")
            self._complete(mapping_id, host)
        except hosts.Stopping:
            self._leave(mapping_id)
            return
        except _TROUBLE as error:
            LOG.error("[server %s] volume %s could not be attached: %s", server_uuid, mapping.volume_id, error)
            self._end(context, server_uuid, mapping_id, str(error))
            return
        with session.writer() as db:
            volumes.update(db, mapping_id, state=MappingState.ATTACHED.value, busy_until=None)
            self._free(db, context, server_uuid, None)
        LOG.info("[server %s] volume %s attached as %s", server_uuid, mapping.volume_id, mapping.device_name)

    def detach(self, context: RequestContext, server_uuid: str, mapping_id: int) -> None:
        """Take a volume from a server. One that the guest does not give up stays attached."""
        try:
            _, mapping = self._begin(context, server_uuid, mapping_id, "compute_detach_volume")
        except exceptions.NotFound:
            return
        try:
            self._ask(context, server_uuid, mapping_id, "detach_volume")
        except hosts.Stopping:
            self._leave(mapping_id)
            return
        except _TROUBLE as error:
            LOG.error("[server %s] volume %s could not be detached: %s", server_uuid, mapping.volume_id, error)
            with session.writer() as db:
                volumes.update(db, mapping_id, state=MappingState.ATTACHED.value, busy_until=None)
                self._free(db, context, server_uuid, str(error))
            return
        self._end(context, server_uuid, mapping_id, None, from_guest=False)

    def release(self, instance: models.Instance) -> None:
        """The server is gone from its host: give its volumes back, and delete those that were to go with it. What the backend
        does not take now it is given by `watch`."""
        for mapping in instance.volumes:
            try:
                self._release(instance, mapping)
            except exceptions.BlockMigrateError as error:
                LOG.error("[server %s] volume %s is given back later: %s", instance.uuid, mapping.volume_id, error)

    def problems(self, instance: models.Instance) -> tuple[str, ...]:
        """Why no host can be given a server's volumes now, in words."""
        found = [f"volume {each.volume_id} is {each.state}" for each in instance.volumes if each.state != MappingState.ATTACHED]
        try:
            if instance.volumes:
                self._call(self.backend.check)
            for mapping in instance.volumes:
                self._call(self.backend.get, mapping.volume_id)
        except exceptions.BlockMigrateError as error:
            found.append(error.message)
        return tuple(found)

    # --- migrations -------------------------------------------------------------------------------------------------

    def connector(self, context: RequestContext, host: str) -> Connector:
        """What the backend must know of a host, as that host says.

        :raises hosts.JobFailed: it does not answer.
        """

        def call() -> StepReport:
            found = self.computes.get_volume_connector(context, host, self.backend.needs_properties)
            return StepReport(StepState.DONE, found)

        asking = hosts.Asking(host, "get_volume_connector", call, self.stopping, self.conf.conductor.host_timeout)
        return from_primitive(Connector, hosts.ask_until_done(asking))

    def give(self, context: RequestContext, server_uuid: str, host: str) -> None:
        """Let a host use a server's volumes, beside the host that does so now.

        :raises hosts.JobFailed: the host does not answer.
        :raises exceptions.BlockMigrateError: the backend refuses.
        """
        mappings = self._mappings(server_uuid)
        if not mappings:
            return
        connector = self.connector(context, host)
        for mapping in mappings:
            self._give(server_uuid, mapping, host, connector)

    def complete(self, server_uuid: str, host: str) -> None:
        """The guest uses its volumes on this host.

        :raises exceptions.BlockMigrateError: the backend refuses.
        """
        for mapping in self._mappings(server_uuid):
            self._complete(mapping.id, host)

    def take(self, server_uuid: str, host: str) -> None:
        """End a host's rights to a server's volumes.

        :raises exceptions.BlockMigrateError: the backend refuses; those of the other volumes have ended all the same.
        """
        failure: exceptions.BlockMigrateError | None = None
        for mapping in self._mappings(server_uuid):
            for attachment in mapping.attachments:
                if attachment.host == host:
                    try:
                        self._take(server_uuid, mapping, attachment)
                    except exceptions.BlockMigrateError as error:
                        failure = failure or error
        if failure is not None:
            raise failure

    # --- what was left ----------------------------------------------------------------------------------------------

    def watch(self) -> None:
        """Finish what was left undone, by dead conductors and for backends that did not answer. Each is tried, again and
        again; what fails is told once a try."""
        with session.reader() as db:
            strays = volumes.strays(db)
            unfinished = volumes.left_unfinished(db, models.utcnow())
            orphans = volumes.of_deleted_servers(db)
        work: list[Callable[[], None]] = [lambda: self._call(self.backend.restore)]
        work += [lambda stray=stray: self._end_stray(stray) for stray in strays]  # type: ignore[misc]
        work += [lambda mapping=mapping: self._finish(mapping) for mapping in unfinished]  # type: ignore[misc]
        work += [lambda mapping=mapping: self._end_orphan(mapping) for mapping in orphans]  # type: ignore[misc]
        for each in work:
            try:
                each()
            except _TROUBLE as error:
                LOG.error("Volumes: left for later: %s", error)

    def _end_stray(self, stray: models.VolumeAttachment) -> None:
        with session.reader() as db:
            mapping = db.get(models.BlockDeviceMapping, stray.mapping_id)
            instance = db.get(models.Instance, mapping.instance_id) if mapping else None
        if mapping is not None and instance is not None:
            LOG.warning("[server %s] %s has a right to volume %s no more", instance.uuid, stray.host, mapping.volume_id)
            self._take(instance.uuid, mapping, stray)

    def _finish(self, mapping: models.BlockDeviceMapping) -> None:
        """A volume that a dead conductor left half attached is taken back, one half detached is detached."""
        with session.writer() as db:
            mine = volumes.take_unfinished(db, mapping.id, models.utcnow())
            instance = db.get(models.Instance, mapping.instance_id)
        if mine and instance is not None and instance.deleted_at is None:
            context = service_context(mapping.request_id, mapping.global_request_id)
            with logged_for(context):
                LOG.warning("[server %s] volume %s was left %s: detaching it", instance.uuid, mapping.volume_id, mapping.state)
                self._end(context, instance.uuid, mapping.id, "The conductor that was at it died: the volume was detached.")

    def _end_orphan(self, mapping: models.BlockDeviceMapping) -> None:
        with session.reader() as db:
            instance = db.get(models.Instance, mapping.instance_id)
        if instance is not None:
            self._release(instance, mapping)

    # --- inside -----------------------------------------------------------------------------------------------------

    def _begin(
        self, context: RequestContext, server_uuid: str, mapping_id: int, event: str
    ) -> tuple[models.Instance, models.BlockDeviceMapping]:
        with session.writer() as db:
            instance = instances.get(db, server_uuid)
            mapping = volumes.update(db, mapping_id, busy_until=volumes.patience())
            if mapping is None:
                raise exceptions.VolumeAttachmentNotFound(volume_id=str(mapping_id), server=server_uuid)
            actions.start_event(db, server_uuid, context.request_id, event, instance.host)
            return instance, mapping

    def _leave(self, mapping_id: int) -> None:
        """This conductor stops: another one, or this one restarted, ends it at once."""
        with session.writer() as db:
            volumes.update(db, mapping_id, busy_until=models.utcnow())

    def _mappings(self, server_uuid: str) -> list[models.BlockDeviceMapping]:
        with session.reader() as db:
            return volumes.of_server(db, server_uuid)

    def _give(self, server_uuid: str, mapping: models.BlockDeviceMapping, host: str, connector: Connector) -> None:
        with session.writer() as db:
            attachment = volumes.add_attachment(db, mapping.id, host)
        if attachment.attachment_id:
            return  # given before a crash
        given = self._call(self.backend.create_attachment, mapping.volume_id, server_uuid, connector, self._on_record(mapping.id))
        values = {"attachment_id": given.id, "protocol": given.protocol, "connection": given.data}
        with session.writer() as db:
            noted = volumes.update_attachment(db, attachment.id, **values)
        if noted is None:  # the server was deleted meanwhile, and its volumes given back
            self._call(self.backend.delete_attachment, mapping.volume_id, server_uuid, host, given.id, ())
            raise exceptions.VolumeAttachmentNotFound(volume_id=mapping.volume_id, server=server_uuid)

    def _on_record(self, mapping_id: int) -> list[str]:
        """The backend's ids of all attachments of a volume that are known."""
        with session.reader() as db:
            mapping = db.get(models.BlockDeviceMapping, mapping_id)
            return [each.attachment_id for each in mapping.attachments if each.attachment_id] if mapping else []

    def _complete(self, mapping_id: int, host: str) -> None:
        with session.reader() as db:
            mapping = db.get(models.BlockDeviceMapping, mapping_id)
        for attachment in mapping.attachments if mapping else ():
            if attachment.host == host and attachment.attachment_id:
                self._call(self.backend.complete_attachment, attachment.attachment_id)

    def _take(self, server_uuid: str, mapping: models.BlockDeviceMapping, attachment: models.VolumeAttachment) -> None:
        others = self._on_record(mapping.id)
        self._call(
            self.backend.delete_attachment, mapping.volume_id, server_uuid, attachment.host, attachment.attachment_id, others
        )
        with session.writer() as db:
            volumes.drop_attachment(db, attachment.id)

    def _release(self, instance: models.Instance, mapping: models.BlockDeviceMapping) -> None:
        for attachment in mapping.attachments:
            self._take(instance.uuid, mapping, attachment)
        if mapping.delete_on_termination:
            self._delete(instance, mapping.volume_id)
        with session.writer() as db:
            volumes.unmap(db, mapping.id)

    def _delete(self, instance: models.Instance, volume_id: str) -> None:
        """A volume goes with its server. One that an administrator lent it is kept: the server's project could not delete it."""
        try:
            volume = self._call(self.backend.get, volume_id)
        except exceptions.VolumeNotFound:
            return
        if volume.belongs_to(instance.project_id):
            self._call(self.backend.delete_volume, volume_id)
        else:
            LOG.warning("[server %s] volume %s is kept, as it is not of the server's project", instance.uuid, volume_id)

    def _end(
        self, context: RequestContext, server_uuid: str, mapping_id: int, trouble: str | None, from_guest: bool = True
    ) -> None:
        """Take a volume from the guest (unless that is done), its host and the server. What does not go now is left to
        `watch`, and the server is free all the same. `trouble`: why, for its user."""
        with session.writer() as db:
            mapping = volumes.update(db, mapping_id, state=MappingState.DETACHING.value)
        try:
            if mapping is not None:
                if from_guest:
                    self._ask(context, server_uuid, mapping_id, "detach_volume")
                for attachment in mapping.attachments:
                    self._take(server_uuid, mapping, attachment)
        except _TROUBLE as error:
            LOG.error("[server %s] volume %s is detached later: %s", server_uuid, mapping.volume_id if mapping else "?", error)
            with session.writer() as db:
                volumes.update(db, mapping_id, busy_until=models.utcnow())
                self._free(db, context, server_uuid, trouble)
            return
        with session.writer() as db:
            volumes.unmap(db, mapping_id)
            self._free(db, context, server_uuid, trouble)
        LOG.info("[server %s] volume %s detached", server_uuid, mapping.volume_id if mapping else "?")

    def _free(self, db: Any, context: RequestContext, server_uuid: str, trouble: str | None) -> None:
        """The server is nobody's again; its user reads in the action how it went."""
        instances.swap_task_state(db, server_uuid, _BUSY_STATES, None)
        with contextlib.suppress(exceptions.ActionNotFound):  # (what `watch` ends may be older than the action)
            actions.end_open_events(db, server_uuid, context.request_id, "Error" if trouble else "Success", trouble)
            actions.finish(db, server_uuid, context.request_id, trouble)

    def _ask(self, context: RequestContext, server_uuid: str, mapping_id: int, job: str) -> None:
        """Have the server's host do a job with a volume; a volume that this host has no right to is not there."""
        with session.reader() as db:
            instance = instances.get(db, server_uuid)
            mapping = db.get(models.BlockDeviceMapping, mapping_id)
        given = [each for each in mapping.attachments if each.host == instance.host and each.attachment_id] if mapping else []
        if mapping is None or not given:
            return
        host, server = instance.host or "", to_primitive(server_of(instance))
        arguments = {"connection": to_primitive(connection_of(mapping, given[0]))}

        def call() -> StepReport:
            return self.computes.run_server_job(context, host, job, server, arguments, JOB_WAIT_S)

        hosts.ask_until_done(hosts.Asking(host, job, call, self.stopping, self.conf.conductor.host_timeout))

    def _call(self, method: Callable[..., T], *arguments: Any) -> T:
        """Ask the backend."""
        return concurrency.run_native(method, *arguments) if self.backend.is_blocking else method(*arguments)
