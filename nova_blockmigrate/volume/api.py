"""The interface of what keeps volumes and decides which host may use them.

An attachment is one host's right to a volume, for one server: created with what the backend must know of the host (its
connector), completed when the guest uses it there, deleted when it does so no more. During a migration there are two.
Backends are found through stevedore in the namespace `nova_blockmigrate.volume`. Every method may be called again after
a crash and then ends the same. How a host connects is not here but in `connecting`.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Collection
from typing import Any

import stevedore.driver
import stevedore.exception
from oslo_config import cfg

from nova_blockmigrate import exceptions

NAMESPACE = "nova_blockmigrate.volume"


@dataclasses.dataclass(frozen=True)
class Connector:
    """What a backend must know of a host to let it in."""

    host: str
    ip: str
    initiator: str
    """The host's iSCSI name."""
    properties: dict[str, Any] = dataclasses.field(default_factory=dict)
    """All that os-brick says of the host, for backends that need it."""


@dataclasses.dataclass(frozen=True)
class Volume:
    id: str
    name: str
    size_gib: int
    problem: str = ""
    """Why it cannot be given to a server, beyond that a server of ours may have it."""
    project_id: str = ""
    """Whose it is; empty: nobody's, and then only administrators may give it to a server."""

    def belongs_to(self, project_id: str | None) -> bool:
        return bool(self.project_id) and self.project_id == project_id


@dataclasses.dataclass(frozen=True)
class Attachment:
    """A host's right to a volume, and the way there."""

    id: str
    protocol: str
    """"iscsi", or another that os-brick knows ("nfs", "local", …)."""
    data: dict[str, Any] = dataclasses.field(default_factory=dict, repr=False)
    """iscsi: target_iqn, target_portal (address:port), target_lun; auth_username and auth_password with CHAP."""


class VolumeBackend(abc.ABC):
    """One place where volumes are kept."""

    is_blocking = True
    """Its methods wait in system calls, so on eventlet they must run in a native thread."""

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        self.conf = conf

    needs_properties = False
    """Hosts are to say of themselves all that os-brick knows (which takes them a process and seconds)."""

    @abc.abstractmethod
    def get(self, volume_id: str) -> Volume:
        """
        :raises exceptions.VolumeNotFound:
        :raises exceptions.VolumeBackendError: the backend does not answer.
        """

    @abc.abstractmethod
    def create_attachment(self, volume_id: str, server_uuid: str, connector: Connector, others: Collection[str]) -> Attachment:
        """Let a host use a volume for a server. One that the host has already is used, or replaced: there is never a second.
        `others` are the ids of the attachments of that volume to that server that are on record.

        :raises exceptions.VolumeNotFound:
        :raises exceptions.InvalidVolume: it is somebody else's.
        :raises exceptions.VolumeBackendError:
        """

    @abc.abstractmethod
    def complete_attachment(self, attachment_id: str) -> None:
        """The guest uses the volume on that host.

        :raises exceptions.VolumeBackendError:
        """

    @abc.abstractmethod
    def delete_attachment(
        self, volume_id: str, server_uuid: str, host: str, attachment_id: str | None, others: Collection[str]
    ) -> None:
        """End a host's right, whether it still uses it or not; one that ended, or never was, is fine. Without an id: the backend
        was asked for it and the answer was lost; `others` are those on record.

        :raises exceptions.VolumeBackendError:
        """

    @abc.abstractmethod
    def delete_volume(self, volume_id: str) -> None:
        """Delete a volume that no host may use; one that is gone is fine.

        :raises exceptions.InvalidVolume: it is in use.
        :raises exceptions.VolumeBackendError:
        """

    def check(self) -> None:  # noqa: B027 - one whose `get` answers, works
        """See that a right could be given now.

        :raises exceptions.VolumeBackendError: it could not.
        """

    def restore(self) -> None:  # noqa: B027 - most backends look after themselves
        """See that what was promised still holds (the embedded backend's daemon forgets everything when it restarts)."""


def load_backend(conf: cfg.ConfigOpts) -> VolumeBackend:
    """The backend that `[volume] backend` names.

    :raises exceptions.ConfigurationError: there is none of that name, or it lacks something.
    """
    try:
        manager: Any = stevedore.driver.DriverManager(
            NAMESPACE, conf.volume.backend, invoke_on_load=True, invoke_args=(conf,), warn_on_missing_entrypoint=False
        )
    except stevedore.exception.NoMatches as error:
        raise exceptions.ConfigurationError(
            detail=f"[volume] backend = {conf.volume.backend} cannot be loaded: {error}. To do: use embedded or cinder."
        ) from error
    backend: VolumeBackend = manager.driver
    return backend
