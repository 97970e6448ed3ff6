"""Servers as hosts know them, and what they are made of."""

from __future__ import annotations

import dataclasses
from typing import Any

from nova_blockmigrate.objects.network import Vif


@dataclasses.dataclass(frozen=True)
class ImageRef:
    """An image as a compute host needs it: enough to find, fetch and verify it."""

    id: str
    disk_format: str
    size_bytes: int
    sha256: str


ROOT_DEVICE = "vda"
"""The guest's name of the disk that it boots from."""


@dataclasses.dataclass(frozen=True)
class VolumeConnection:
    """A volume as one host reaches it for one server."""

    volume_id: str
    attachment_id: str
    """The backend's name for this host's right to the volume."""
    host: str
    target_dev: str
    """The guest's name of the disk: vdb, …"""
    protocol: str
    """How it is reached: "iscsi", or another that os-brick knows ("nfs", "local", …)."""
    data: dict[str, Any] = dataclasses.field(default_factory=dict, repr=False)
    """What the backend says of the way there (it may hold a password: never logged)."""


@dataclasses.dataclass(frozen=True)
class Server:
    """A server as hosts know it: what to run, not what its user sees."""

    uuid: str
    domain_name: str
    """libvirt's name of it: Nova's `instance-%08x`."""
    display_name: str
    memory_mib: int
    vcpus: int
    root_gib: int
    image: ImageRef | None
    vifs: tuple[Vif, ...] = ()
    volumes: tuple[VolumeConnection, ...] = ()
    """Its volumes as each host reaches them: during a migration two hosts may."""

    def root_volume_at(self, host: str) -> VolumeConnection | None:
        """The volume that a server without an image boots from."""
        roots = [each for each in self.volumes_at(host) if each.target_dev == ROOT_DEVICE]
        return roots[0] if roots and self.image is None else None

    def volumes_at(self, host: str) -> tuple[VolumeConnection, ...]:
        return tuple(each for each in self.volumes if each.host == host)
