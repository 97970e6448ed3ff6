"""The Cinder backend: volumes are Cinder's, each host's right is an attachment of Cinder's Block Storage API v3.

Cinder chooses an attachment's id, so one that was made just before a crash is on no record. Such are known by that: an attachment
of the volume for the server that is not on record is nobody's, and is deleted before another one is made.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator
from typing import Any

import keystoneauth1.exceptions
from keystoneauth1 import loading, service_token
from oslo_config import cfg
from oslo_log import log

from nova_blockmigrate import exceptions
from nova_blockmigrate.volume.api import Attachment, Connector, Volume, VolumeBackend

LOG = log.getLogger(__name__)

GROUP = "cinder"
MICROVERSION = "3.44"
"""The first in which attachments can be completed."""
_FREE = ("available", "reserved")


class CinderBackend(VolumeBackend):
    """Volumes of a Block Storage service."""

    is_blocking = False  # (its sockets are green ones on eventlet)
    needs_properties = True

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        super().__init__(conf)
        try:
            import openstack.exceptions

            import openstack
        except ImportError as error:
            raise exceptions.ConfigurationError(
                detail="[volume] backend = cinder needs openstacksdk, which is not installed. To do: pip install openstacksdk"
            ) from error
        self._errors: tuple[type[Exception], ...] = (
            openstack.exceptions.SDKException,
            keystoneauth1.exceptions.ClientException,
        )
        self._not_found = openstack.exceptions.NotFoundException
        self._raise_from = openstack.exceptions.raise_from_response
        try:
            auth = loading.load_auth_from_conf_options(conf, GROUP)
            if auth is None:
                raise exceptions.ConfigurationError(
                    detail=f"[volume] backend = cinder needs [{GROUP}] auth_type and what belongs to it"
                )
            # Cinder lets services only end an attachment that a server uses, and knows them by a second token
            both = service_token.ServiceTokenAuthWrapper(user_auth=auth, service_auth=auth)
            session = loading.load_session_from_conf_options(conf, GROUP, auth=both)
        except keystoneauth1.exceptions.ClientException as error:
            raise exceptions.ConfigurationError(detail=f"[{GROUP}] says not how to authenticate: {error}") from error
        self._cloud: Any = openstack.connection.Connection(session=session, oslo_conf=conf, service_types=["block-storage"])

    def get(self, volume_id: str) -> Volume:
        with self._asking(f"show volume {volume_id}"):
            try:
                found = self._storage.get_volume(volume_id)
            except self._not_found as error:
                raise exceptions.VolumeNotFound(volume_id=volume_id) from error
        problem = "" if found.status in _FREE else f"its status is {found.status}"
        if found.is_encrypted:
            problem = "it is encrypted, and its key would not reach QEMU: use a volume of a type without encryption"
        return Volume(found.id, found.name or "", found.size, problem, found.project_id or "")

    def create_attachment(self, volume_id: str, server_uuid: str, connector: Connector, others: Collection[str]) -> Attachment:
        self._delete_unknown(volume_id, server_uuid, others)
        wanted = {"volume_uuid": volume_id, "instance_uuid": server_uuid, "connector": _properties(connector)}
        with self._asking(f"let {connector.host} use volume {volume_id}"):
            # (the proxy's own method asks for versions in a way that a Cinder without Keystone does not answer)
            answer = self._storage.post("/attachments", json={"attachment": wanted}, microversion=MICROVERSION)
            self._raise_from(answer)
            made = answer.json()["attachment"]
        info = dict(made.get("connection_info") or {})
        return Attachment(made["id"], str(info.pop("driver_volume_type", "")), info)

    def complete_attachment(self, attachment_id: str) -> None:
        with self._asking(f"complete attachment {attachment_id}"):
            self._storage.complete_attachment(attachment_id)

    def delete_attachment(
        self, volume_id: str, server_uuid: str, host: str, attachment_id: str | None, others: Collection[str]
    ) -> None:
        if attachment_id is None:
            self._delete_unknown(volume_id, server_uuid, others)
        else:
            self._delete(attachment_id)

    def delete_volume(self, volume_id: str) -> None:
        with self._asking(f"delete volume {volume_id}"):
            self._storage.delete_volume(volume_id, ignore_missing=True)

    # --- inside -----------------------------------------------------------------------------------------------------

    @property
    def _storage(self) -> Any:
        """openstacksdk's Block Storage proxy (which asks for versions when it is first used: Cinder may be away at our start)."""
        storage = self._cloud.block_storage
        storage.default_microversion = MICROVERSION
        return storage

    def _delete_unknown(self, volume_id: str, server_uuid: str, known: Collection[str]) -> None:
        """Delete the attachments that a crash left without a record."""
        with self._asking(f"list attachments of volume {volume_id}"):
            listed = self._storage.attachments(details=True, volume_id=volume_id, instance_id=server_uuid, all_projects=True)
            unknown = [found.id for found in listed if found.instance == server_uuid and found.id not in known]
        for attachment_id in unknown:
            LOG.warning("Volume %s: attachment %s of server %s is on no record: deleting it", volume_id, attachment_id, server_uuid)
            self._delete(attachment_id)

    def _delete(self, attachment_id: str) -> None:
        with self._asking(f"delete attachment {attachment_id}"):
            self._storage.delete_attachment(attachment_id, ignore_missing=True)

    @contextlib.contextmanager
    def _asking(self, action: str) -> Iterator[None]:
        try:
            yield
        except self._errors as error:
            raise exceptions.VolumeBackendError(backend="cinder", action=action, reason=str(error)) from error


def _properties(connector: Connector) -> dict[str, Any]:
    """A host as Cinder's drivers know it: what os-brick says of it; of one that does not say so, the least that iSCSI needs."""
    least = {
        "multipath": False,
        "do_local_attach": False,
        "platform": "x86_64",
        "os_type": "linux",
    }
    named = {"host": connector.host, "ip": connector.ip, "initiator": connector.initiator}
    return least | connector.properties | named
