"""What our driver on the source tells the one on the destination, beside what Nova itself tells: hashes of the base files, and
the content of config drives, which Nova would replace by zeros.

It travels in the list of disks that Nova passes from one driver to the other as a text, and, what is needed without disks, too, in
the data of Nova's checks. A driver that does not know it passes
over it, so a host with ours and one without may migrate to each other.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import hashlib
import json
import os
import zlib
from typing import Any

from nova_blockmigrate.exceptions import StorageError
from nova_blockmigrate.image import cache
from nova_blockmigrate.image.cache import completing
from nova_blockmigrate.image.manifest import Manifests

KEY = "blockmigrate"
_ADDRESS = f" {KEY}="
CARRIED_NAMES = ("disk.config",)
"""Files in an instance's directory that are carried along whole: nobody writes to them, and the copy of disks leaves them out."""
LARGEST_BYTES = 80 * 1024**2
"""Config drives are small: at most 64 MiB in format vfat."""


@dataclasses.dataclass(frozen=True)
class Piece:
    """What is known of one disk of the list."""

    backing_sha256: str = ""
    content: str = ""
    """The file, compressed, in base 64; empty: it is not carried along."""
    content_sha256: str = ""


def addressed(filename: str, source_address: str) -> str:
    """The name of the file by which Nova tells shared storage, which nobody asks for after that, with where the source's libvirt
    can be reached: Nova passes it on to the destination also when no disk is copied, and there is no list of disks."""
    return f"{filename}{_ADDRESS}{source_address}"


def source_address(filename: str) -> str | None:
    """Where the source's libvirt can be reached; None: the source has a driver that says nothing."""
    _, known, address = filename.partition(_ADDRESS)
    return address if known else None


def pack(disk_info: str, manifests: Manifests, host: str) -> str:
    """Nova's list of disks, with what is known of each.

    :raises StorageError: a base file or a config drive cannot be read.
    """
    disks = json.loads(disk_info)
    for disk in disks:
        piece = _piece(disk, manifests, host)
        disk[KEY] = dataclasses.asdict(piece)
    return json.dumps(disks)


def _piece(disk: dict[str, Any], manifests: Manifests, host: str) -> Piece:
    if disk.get("backing_file"):
        return Piece(backing_sha256=cache.file_hash(manifests, backing_path(disk), host))
    path = disk["path"]
    if os.path.basename(path) not in CARRIED_NAMES:
        return Piece()
    try:
        with open(path, "rb") as file:
            content = file.read(LARGEST_BYTES + 1)
    except OSError as error:
        raise StorageError(host=host, action=f"read {path}", reason=str(error)) from error
    if len(content) > LARGEST_BYTES:
        raise StorageError(host=host, action=f"bring {path} along", reason=f"it is larger than {LARGEST_BYTES} bytes")
    return Piece(content=base64.b64encode(zlib.compress(content)).decode(), content_sha256=hashlib.sha256(content).hexdigest())


def backing_path(disk: dict[str, Any], base_directory: str = "") -> str:
    """Where the backing file of a listed disk lies. Nova lists its name only: all are in the cache beside the instances."""
    directory = base_directory or os.path.join(os.path.dirname(os.path.dirname(disk["path"])), cache.BASE_DIRECTORY)
    return os.path.join(directory, os.path.basename(disk["backing_file"]))


def unpack(disk_info: str | None, instance_directory: str, manifests: Manifests, host: str) -> None:
    """Write what was carried along to its place, and verify what was not: on the destination, once Nova has made the files.

    :raises StorageError: a base file has other bytes than the source's, or something cannot be read or written.
    """
    for disk in json.loads(disk_info or "[]"):
        known = disk.get(KEY)
        if not known:
            continue
        if known["backing_sha256"]:
            base = os.path.join(os.path.dirname(instance_directory), cache.BASE_DIRECTORY)
            _verify(backing_path(disk, base), known["backing_sha256"], manifests, host)
        if known["content_sha256"]:
            _write(os.path.join(instance_directory, os.path.basename(disk["path"])), known, host)


def _verify(path: str, wanted: str, manifests: Manifests, host: str) -> None:
    found = cache.file_hash(manifests, path, host)
    if found != wanted:
        raise StorageError(
            host=host,
            action=f"build a disk on {path}",
            reason=f"its sha256 is {found}, and on the source {wanted}: the guest would read other data. To do: remove that "
            "file when no guest uses it, and migrate again",
        )


def _write(path: str, known: dict[str, Any], host: str) -> None:
    try:
        content = zlib.decompress(base64.b64decode(known["content"]))
        if hashlib.sha256(content).hexdigest() != known["content_sha256"]:
            raise ValueError("it was damaged on its way")
        with completing(path) as part, open(part, "wb") as file:
            file.write(content)
    except (OSError, ValueError, binascii.Error, zlib.error) as error:
        raise StorageError(host=host, action=f"write {path}", reason=str(error)) from error
