"""The embedded backend: volumes are sparse files on this host, served over iSCSI by tgtd to the hosts that have an attachment.

The directory is the truth, tgtd is made to follow it: a folder for each volume holds its bytes, its description and a
file for each attachment. So nothing is lost when tgtd or this process dies between two steps, and `restore` serves again
what a restarted tgtd has forgotten. A lock file keeps processes (conductors, the manage command) apart.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import os
import pathlib
import secrets
import shutil
import uuid as uuids
from collections.abc import Collection, Iterator
from typing import Any

from oslo_config import cfg
from oslo_log import log

from nova_blockmigrate import exceptions
from nova_blockmigrate.volume.api import Attachment, Connector, Volume, VolumeBackend
from nova_blockmigrate.volume.tgt import LUN, Tgtd

LOG = log.getLogger(__name__)

IQN_PREFIX = "iqn.2026-11.org.nova-blockmigrate:volume-"
GIB = 1024**3
_BYTES, _DESCRIPTION, _ATTACHMENTS = "disk", "volume.json", "attachments"


@dataclasses.dataclass(frozen=True)
class _Right:
    """An attachment as its file has it."""

    id: str
    server: str
    host: str
    initiator: str
    user: str = ""
    """With CHAP; a right that was given without it, before there was any, has none."""
    password: str = dataclasses.field(default="", repr=False)


class EmbeddedBackend(VolumeBackend):
    """Volumes of this host's own."""

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        super().__init__(conf)
        options = conf.embedded_volume
        self._directory = pathlib.Path(options.directory)
        self._portal = f"{_bracketed(options.portal_address or conf.my_ip)}:{options.portal_port}"
        self._tgtd = Tgtd(options.tgtadm_control_port)
        self._chap = options.chap

    # --- volumes ----------------------------------------------------------------------------------------------------

    def create(self, name: str, size_gib: int, volume_id: str = "", project_id: str = "") -> Volume:
        """Make an empty volume.

        :raises exceptions.NameInUse:
        """
        with self._locked():
            if any(volume.name == name for volume in self._all()):
                raise exceptions.NameInUse(what="volume", name=name)
            volume = Volume(volume_id or str(uuids.uuid4()), name, size_gib, project_id=project_id)
            unfinished = self._directory / f".{volume.id}"
            shutil.rmtree(unfinished, ignore_errors=True)
            (unfinished / _ATTACHMENTS).mkdir(parents=True, mode=0o700)
            with open(unfinished / _BYTES, "xb") as file:
                os.truncate(file.fileno(), size_gib * GIB)
            _write(unfinished / _DESCRIPTION, _description(volume))
            unfinished.rename(self._directory / volume.id)
            return volume

    def give_to(self, volume_id: str, project_id: str) -> None:
        """Make it a project's; with "" nobody's. Servers that have it keep it.

        :raises exceptions.VolumeNotFound:
        """
        with self._locked():
            folder = self._folder(volume_id)
            volume = dataclasses.replace(self._read(folder), project_id=project_id)
            _write(folder / _DESCRIPTION, _description(volume))

    def search(self) -> list[Volume]:
        """All volumes, by name."""
        return sorted(self._all(), key=lambda volume: volume.name)

    def get(self, volume_id: str) -> Volume:
        return self._read(self._folder(volume_id))

    def hosts(self, volume_id: str) -> list[str]:
        """Who may use a volume now."""
        return sorted(right.host for right in self._rights(self._folder(volume_id)))

    def delete_volume(self, volume_id: str) -> None:
        with self._locked():
            folder = self._directory / volume_id
            if not folder.exists():
                return
            if rights := self._rights(folder):
                raise exceptions.InvalidVolume(
                    volume_id=volume_id, reason=f"{rights[0].host} uses it for server {rights[0].server}"
                )
            self._stop_serving(volume_id)
            shutil.rmtree(folder)

    # --- attachments ------------------------------------------------------------------------------------------------

    def create_attachment(self, volume_id: str, server_uuid: str, connector: Connector, others: Collection[str]) -> Attachment:
        """The id follows from volume, server and host: made again, it is the same one."""
        id = _attachment_id(volume_id, server_uuid, connector.host)
        with self._locked():
            folder = self._folder(volume_id)
            rights = self._rights(folder)
            given = next((right for right in rights if right.id == id), None)
            user, password = (given.user, given.password) if given else self._new_account(volume_id)
            right = _Right(id, server_uuid, connector.host, connector.initiator, user, password)
            others = [other.server for other in rights if other.server != server_uuid]
            if others:
                raise exceptions.InvalidVolume(volume_id=volume_id, reason=f"it is attached to server {others[0]}")
            _write(folder / _ATTACHMENTS / f"{right.id}.json", dataclasses.asdict(right))
            self._serve(folder)
        LOG.info("Volume %s may be used by %s (%s)", volume_id, connector.host, connector.initiator)
        data = {"target_iqn": iqn_of(volume_id), "target_portal": self._portal, "target_lun": LUN}
        if user:
            data |= {"auth_method": "CHAP", "auth_username": user, "auth_password": password}
        return Attachment(right.id, "iscsi", data)

    def complete_attachment(self, attachment_id: str) -> None:
        """Nothing to do: a host that has the right has it whole."""

    def delete_attachment(
        self, volume_id: str, server_uuid: str, host: str, attachment_id: str | None, others: Collection[str]
    ) -> None:
        """The file goes last: who asks again after a failure finds it."""
        id = _attachment_id(volume_id, server_uuid, host)
        folder = self._directory / volume_id
        file = folder / _ATTACHMENTS / f"{id}.json"
        with self._locked():
            if not file.exists():
                return
            self._serve(folder, but=id)
            file.unlink()
            LOG.info("Volume %s: %s may use it now", volume_id, ", ".join(self.hosts(volume_id)) or "nobody")

    def check(self) -> None:
        self._tgtd.targets()

    def restore(self) -> None:
        if not self._directory.exists():
            return
        with self._locked():
            used = [folder for folder in self._folders() if self._rights(folder)]
            served = self._tgtd.targets() if used else {}
            for folder in used:
                target = served.get(iqn_of(folder.name))
                right = (
                    target is not None
                    and target.initiators == self._initiators(folder)
                    and set(target.accounts) == set(_accounts(self._rights(folder)))
                )
                if not right or target is None or not target.paths:
                    LOG.warning("tgtd does not serve volume %s as it should: telling it", folder.name)
                    self._serve(folder)

    # --- inside -----------------------------------------------------------------------------------------------------

    def _serve(self, folder: pathlib.Path, but: str = "") -> None:
        """Make tgtd let exactly those in who have a right; without any the target goes."""
        iqn = iqn_of(folder.name)
        initiators = self._initiators(folder, but)
        if not initiators:
            self._stop_serving(folder.name)
            return
        target = self._tgtd.serve(iqn, str(folder / _BYTES))
        accounts = _accounts([right for right in self._rights(folder) if right.id != but])
        self._tgtd.require(target, accounts, _prefix(folder.name))  # first: who is let in is to be asked already
        self._tgtd.allow(target, initiators)

    def _stop_serving(self, volume_id: str) -> None:
        self._tgtd.stop_serving(iqn_of(volume_id))
        self._tgtd.forget_accounts(_prefix(volume_id))

    def _new_account(self, volume_id: str) -> tuple[str, str]:
        """A user and a password of an attachment's own; none without CHAP."""
        return (_prefix(volume_id) + secrets.token_hex(4), secrets.token_hex(16)) if self._chap else ("", "")

    def _initiators(self, folder: pathlib.Path, but: str = "") -> set[str]:
        return {right.initiator for right in self._rights(folder) if right.id != but}

    def _all(self) -> list[Volume]:
        return [self._read(folder) for folder in self._folders()]

    def _folders(self) -> list[pathlib.Path]:
        if not self._directory.exists():
            return []
        return sorted(path for path in self._directory.iterdir() if path.is_dir() and not path.name.startswith("."))

    def _folder(self, volume_id: str) -> pathlib.Path:
        folder = self._directory / volume_id
        if volume_id.startswith(".") or "/" in volume_id or not (folder / _DESCRIPTION).exists():
            raise exceptions.VolumeNotFound(volume_id=volume_id)
        return folder

    def _read(self, folder: pathlib.Path) -> Volume:
        described: dict[str, Any] = json.loads((folder / _DESCRIPTION).read_text())
        # (volumes made before they had owners say nothing of one)
        return Volume(folder.name, described["name"], described["size_gib"], project_id=described.get("project_id", ""))

    def _rights(self, folder: pathlib.Path) -> list[_Right]:
        return [_Right(**json.loads(file.read_text())) for file in sorted((folder / _ATTACHMENTS).glob("*.json"))]

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor = os.open(self._directory / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise exceptions.VolumeBackendError(backend="embedded", action=f"use {self._directory}", reason=str(error)) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def iqn_of(volume_id: str) -> str:
    """The target's name of a volume."""
    return IQN_PREFIX + volume_id


def _description(volume: Volume) -> dict[str, Any]:
    return {"name": volume.name, "size_gib": volume.size_gib, "project_id": volume.project_id}


def _prefix(volume_id: str) -> str:
    """What the names of a volume's users begin with."""
    return f"{volume_id}-"


def _accounts(rights: Collection[_Right]) -> dict[str, str]:
    """Passwords by user. None at all while a host has a right that was given without: a target asks everybody, or nobody."""
    return {right.user: right.password for right in rights} if all(right.user for right in rights) else {}


def _attachment_id(volume_id: str, server_uuid: str, host: str) -> str:
    return str(uuids.uuid5(uuids.NAMESPACE_OID, f"{volume_id} {server_uuid} {host}"))


def _write(path: pathlib.Path, values: dict[str, Any]) -> None:
    """On disk, whole, when this returns."""
    unfinished = path.with_suffix(".new")
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(values, file)
        file.flush()
        os.fsync(file.fileno())
    unfinished.rename(path)


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address
