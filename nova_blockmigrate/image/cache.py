"""Base images of a host: `<instances_path>/_base/<sha1 of the image's id>`, made once, complete or not there at all.

A base is made in a temporary file, brought to disk, and renamed. Requests for the same one wait for the first. Its hash is
written down (`manifest`) when it is made, so that a migration need not read it, and what it was made from: a file of the right
name that nobody remembers to have made is used only when it has the bytes that the image gives.
"""

from __future__ import annotations

import contextlib
import dataclasses
import glob
import hashlib
import os
from collections.abc import Iterator
from typing import Any

from oslo_log import log

from nova_blockmigrate import processes
from nova_blockmigrate.concurrency import native
from nova_blockmigrate.exceptions import StorageError
from nova_blockmigrate.image import formats, manifest
from nova_blockmigrate.image.manifest import Manifests
from nova_blockmigrate.image.source import ImageSource
from nova_blockmigrate.objects import ImageRef

LOG = log.getLogger(__name__)

BASE_DIRECTORY = "_base"
CONVERT_TIMEOUT_S = 3600.0
PART_SUFFIX, NOTES_SUFFIX = ".blockmigrate.part", ".blockmigrate.part.done"
_ORIGINAL_SUFFIX, _MADE_SUFFIX = ".blockmigrate.image.part", ".blockmigrate.made"
"""Names that nobody else gives: a download of an administrator, or of Nova, may well be called `NAME.part`."""
HASH_DIGITS = 16


@dataclasses.dataclass(frozen=True)
class Base:
    """A base file as an overlay names it."""

    path: str
    format: str


class BaseImages:
    """The cache of one host."""

    def __init__(self, instances_path: str, source: ImageSource, manifests: Manifests, force_raw: bool, host: str) -> None:
        self._directory = os.path.join(instances_path, BASE_DIRECTORY)
        self._source, self._manifests, self._force_raw, self._host = source, manifests, force_raw, host

    @property
    def directory(self) -> str:
        return self._directory

    def path_of(self, image: ImageRef) -> str:
        """Where the base of an image lies, or would."""
        return os.path.join(self._directory, hashlib.sha1(image.id.encode(), usedforsecurity=False).hexdigest())

    def base_for(self, image: ImageRef) -> Base:
        """The base of an image, made when it is missing.

        :raises ImageNotFound, StorageError: the image is not there, is damaged, or cannot be converted.
        """
        path = self.path_of(image)
        file_format = "raw" if self._force_raw else image.disk_format
        with making(path):  # (a base that is there may be on its way out: see `cleaning`)
            known = self._known(image, path) or self._make(image, path, file_format)
        return Base(known, file_format)

    def _known(self, image: ImageRef, path: str) -> str:
        """The file that was made of the image: under its name, or beside one with other bytes."""
        for candidate in (path, *sorted(glob.glob(glob.escape(path) + "." + "?" * HASH_DIGITS))):
            if self._manifests.made_from(candidate) == image.id:
                return candidate
        return ""

    def _make(self, image: ImageRef, path: str, file_format: str) -> str:
        """Where it lies then. A file of its name that is there already is used when it has the same bytes, else left alone."""
        made = path + _MADE_SUFFIX if os.path.lexists(path) else path
        with self._source.original(image, path + _ORIGINAL_SUFFIX) as original:
            if why := formats.why_unacceptable(original, image.disk_format):
                raise StorageError(host=self._host, action=f"make the base of image {image.id}", reason=why)
            command = ["qemu-img", "convert", "-f", image.disk_format, "-O", file_format, original]
            if file_format == image.disk_format:
                command = ["cp", "--sparse=always", "--", original]
            with completing(made) as part:
                run_or_fail([*command, part], CONVERT_TIMEOUT_S, f"make the base of image {image.id}", self._host)
        sha256 = manifest.compute(made)
        place = made if made == path else self._place_beside(made, path, sha256)
        ours = made == path or place != path
        self._manifests.record(place, sha256, made_from=image.id, ours=ours or self._manifests.is_ours(place))
        LOG.info("%s was made from image %s", place, image.id)
        return place

    def _place_beside(self, made: str, path: str, sha256: str) -> str:
        if os.path.isfile(path) and self._manifests.sha256_of(path) == sha256:
            os.unlink(made)
            return path
        LOG.warning("%s has other bytes than its image: it is not used", path)
        os.replace(made, beside(path, sha256))
        return beside(path, sha256)


def beside(path: str, sha256: str) -> str:
    """The name of a file whose own name a file with other bytes has."""
    return f"{path}.{sha256[:HASH_DIGITS]}"


def names_of(path: str) -> tuple[str, ...]:
    """Names under which a file may be spoken of: its own, and the one that a file with other bytes has, if it lies beside that."""
    name, _, digits = path.rpartition(".")
    return (path, name) if len(digits) == HASH_DIGITS else (path,)


def scratch_names(path: str) -> list[str]:
    """What lies beside a file while it is made or brought."""
    return [path + suffix for suffix in (PART_SUFFIX, NOTES_SUFFIX, _ORIGINAL_SUFFIX, _MADE_SUFFIX, _MADE_SUFFIX + PART_SUFFIX)]


def is_cached(path: str) -> bool:
    """Whether a file lies in a cache of base images, where it stays for the next guest."""
    return is_cache(os.path.dirname(path))


def is_cache(directory: str) -> bool:
    return os.path.basename(directory) == BASE_DIRECTORY


def file_hash(manifests: Manifests, path: str, host: str) -> str:
    """Hash of a layer's file.

    :raises StorageError: it cannot be read.
    """
    try:
        return manifests.sha256_of(path)
    except OSError as error:
        raise StorageError(host=host, action=f"read {path}", reason=str(error)) from error


@contextlib.contextmanager
def completing(path: str) -> Iterator[str]:
    """A temporary name to make a file under; on success it is on disk as `path`, else nothing is there."""
    part = path + PART_SUFFIX
    _unlink(part)
    try:
        yield part
        sync(part)
        os.replace(part, path)
        sync(os.path.dirname(path))
    finally:
        _unlink(part)


_locks: dict[str, Any] = {}


@contextlib.contextmanager
def making(path: str) -> Iterator[None]:
    """Only one maker (or remover) of a file at a time; others wait. Makes the directory, too.

    Of threads of this process: a host has one service that makes files. A lock on disk would be one more thing to clear up.
    """
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with _locks.setdefault(path, native.threading.Lock()):
        yield


def run_or_fail(command: list[str], timeout_s: float, action: str, host: str) -> None:
    """Run a program whose failure is a `StorageError`."""
    try:
        done = processes.run(command, timeout_s)
    except TimeoutError as error:
        raise StorageError(host=host, action=action, reason=str(error)) from error
    if done.returncode != 0:
        raise StorageError(host=host, action=action, reason=done.failure)


def sync(path: str) -> None:
    """Bring a file, or the names in a directory, to stable storage."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _unlink(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
