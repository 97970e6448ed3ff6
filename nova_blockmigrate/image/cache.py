"""Base images of a host: `<instances_path>/_base/<sha1 of the image's id>`, made once, complete or not there at all.

A base is made in a temporary file, brought to disk, and renamed. Requests for the same one wait for the first. Its hash is
written down (`manifest`) when it is made, so that a migration need not read it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
from collections.abc import Iterator
from typing import Any

from nova_blockmigrate import processes
from nova_blockmigrate.concurrency import native
from nova_blockmigrate.exceptions import StorageError
from nova_blockmigrate.image.manifest import Manifests
from nova_blockmigrate.image.source import LocalDirectory
from nova_blockmigrate.objects import ImageRef

BASE_DIRECTORY = "_base"
CONVERT_TIMEOUT_S = 3600.0
PART_SUFFIX = ".part"


@dataclasses.dataclass(frozen=True)
class Base:
    """A base file as an overlay names it."""

    path: str
    format: str


class BaseImages:
    """The cache of one host."""

    def __init__(self, instances_path: str, source: LocalDirectory, manifests: Manifests, force_raw: bool, host: str) -> None:
        self._directory = os.path.join(instances_path, BASE_DIRECTORY)
        self._source, self._manifests, self._force_raw, self._host = source, manifests, force_raw, host

    def path_of(self, image: ImageRef) -> str:
        """Where the base of an image lies, or would."""
        return os.path.join(self._directory, hashlib.sha1(image.id.encode(), usedforsecurity=False).hexdigest())

    def base_for(self, image: ImageRef) -> Base:
        """The base of an image, made when it is missing.

        :raises ImageNotFound, StorageError: the image is not there, is damaged, or cannot be converted.
        """
        path = self.path_of(image)
        file_format = "raw" if self._force_raw else image.disk_format
        if self._manifests.recorded(path):
            return Base(path, file_format)
        with making(path):
            if not os.path.exists(path):
                self._make(image, path, file_format)
            self._manifests.sha256_of(path)
        return Base(path, file_format)

    def _make(self, image: ImageRef, path: str, file_format: str) -> None:
        original = self._source.fetch(image)
        command = ["qemu-img", "convert", "-f", image.disk_format, "-O", file_format, original]
        if file_format == image.disk_format:
            command = ["cp", "--sparse=always", "--", original]
        with completing(path) as part:
            run_or_fail([*command, part], CONVERT_TIMEOUT_S, f"make the base of image {image.id}", self._host)


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
        _sync(part)
        os.replace(part, path)
        _sync(os.path.dirname(path))
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


def _sync(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _unlink(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
