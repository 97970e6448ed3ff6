"""A backend whose volumes live in memory: for tests of the API and the conductor.

It sees every right that was given, and so checks what must never happen: a volume with two servers.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection

from oslo_config import cfg

from nova_blockmigrate import exceptions
from nova_blockmigrate.volume.api import Attachment, Connector, Volume, VolumeBackend


@dataclasses.dataclass
class FakeVolumes:
    """What a process has of them."""

    volumes: dict[str, Volume] = dataclasses.field(default_factory=dict)
    rights: dict[tuple[str, str, str], bool] = dataclasses.field(default_factory=dict)
    """Whether it was completed, by (volume, server, host)."""
    trouble: dict[str, str] = dataclasses.field(default_factory=dict)
    """Why a method fails, by its name."""


shared = FakeVolumes()


class FakeBackend(VolumeBackend):
    def __init__(self, conf: cfg.ConfigOpts, world: FakeVolumes | None = None) -> None:
        super().__init__(conf)
        self.world = world or shared

    def get(self, volume_id: str) -> Volume:
        self._come_to("get")
        if volume_id not in self.world.volumes:
            raise exceptions.VolumeNotFound(volume_id=volume_id)
        return self.world.volumes[volume_id]

    def create_attachment(self, volume_id: str, server_uuid: str, connector: Connector, others: Collection[str]) -> Attachment:
        self._come_to("create_attachment")
        self.get(volume_id)
        if any(volume == volume_id and server != server_uuid for volume, server, _ in self.world.rights):
            raise exceptions.InvalidVolume(volume_id=volume_id, reason="it is attached to another server")
        self.world.rights.setdefault((volume_id, server_uuid, connector.host), False)
        id = f"{volume_id} {server_uuid} {connector.host}"
        return Attachment(id, "iscsi", {"target_iqn": f"iqn.fake:{volume_id}", "target_portal": "127.0.0.1:3260", "target_lun": 1})

    def complete_attachment(self, attachment_id: str) -> None:
        self._come_to("complete_attachment")
        volume, server, host = attachment_id.split(" ")
        self.world.rights[volume, server, host] = True

    def delete_attachment(
        self, volume_id: str, server_uuid: str, host: str, attachment_id: str | None, others: Collection[str]
    ) -> None:
        self._come_to("delete_attachment")
        self.world.rights.pop((volume_id, server_uuid, host), None)

    def delete_volume(self, volume_id: str) -> None:
        self._come_to("delete_volume")
        if any(volume == volume_id for volume, _, _ in self.world.rights):
            raise exceptions.InvalidVolume(volume_id=volume_id, reason="it is in use")
        self.world.volumes.pop(volume_id, None)

    def check(self) -> None:
        self._come_to("check")

    def _come_to(self, method: str) -> None:
        if reason := self.world.trouble.get(method):
            raise exceptions.VolumeBackendError(backend="fake", action=method.replace("_", " "), reason=reason)
