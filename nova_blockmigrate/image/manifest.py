"""Hashes of files that nobody writes to, kept in a directory of their own, so that each is computed once.

A manifest is believed as long as the file's device, inode, size, modification and change times are those that it names.
They do not lie beside the files: those belong to others, and may be in places where nothing can be written.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
from typing import Any


class Manifests:
    """The known hashes of one host."""

    def __init__(self, directory: str) -> None:
        self._directory = directory

    def sha256_of(self, path: str) -> str:
        """Hash of a file's bytes: from its manifest when that still fits, else computed and written down."""
        known = self.recorded(path)
        return known or self.record(path, compute(path))

    def recorded(self, path: str) -> str:
        """The hash in the manifest, when that fits the file; else an empty string."""
        return str(self._believed(path).get("sha256", ""))

    def _believed(self, path: str) -> dict[str, Any]:
        """What the manifest of a file says, when it fits the file; else nothing."""
        try:
            with open(self._manifest_of(path), encoding="utf-8") as file:
                manifest: dict[str, Any] = json.load(file)
            return manifest if manifest["identity"] == _identity(path) else {}
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return {}

    def made_from(self, path: str) -> str:
        """Id of the image that a file was made from by this service, when it has not changed since; else an empty string."""
        return str(self._believed(path).get("made_from", ""))

    def is_ours(self, path: str) -> bool:
        """Whether this service has made or brought a file, and it has not changed since."""
        return bool(self._believed(path).get("ours"))

    def note_use(self, path: str, now_s: float) -> None:
        """A file is needed now (seconds since the epoch)."""
        os.utime(self._manifest_of(path), (now_s, now_s))

    def last_use(self, path: str) -> float:
        """When a file was needed last, as far as that was noted; else when it was hashed."""
        return os.stat(self._manifest_of(path)).st_mtime

    def record(self, path: str, sha256: str, made_from: str = "", ours: bool = False) -> str:
        """Write the manifest of a file; returns the hash. Where that is not allowed, or there is no room, it is left.

        `ours`: this service has just made the file, or brought it.
        """
        manifest = self._manifest_of(path)
        part = f"{manifest}.{os.getpid()}.part"
        try:
            os.makedirs(self._directory, exist_ok=True)
            with open(part, "w", encoding="utf-8") as file:
                manifest_of = {"path": path, "sha256": sha256, "identity": _identity(path), "made_from": made_from, "ours": ours}
                json.dump(manifest_of, file)
            os.replace(part, manifest)
        except OSError as error:
            if error.errno not in (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOSPC):
                raise
        return sha256

    def forget(self, path: str) -> None:
        """A file was removed; one that has no manifest is fine."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._manifest_of(path))

    def prune(self) -> None:
        """Forget files that are gone."""
        with contextlib.suppress(FileNotFoundError):
            for entry in os.scandir(self._directory):
                if not _is_of_a_file(entry.path):
                    os.unlink(entry.path)

    def _manifest_of(self, path: str) -> str:
        return os.path.join(self._directory, hashlib.sha256(os.path.abspath(path).encode()).hexdigest()[:32] + ".json")


def compute(path: str) -> str:
    """Hash of a file's bytes, read now."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _identity(path: str) -> list[Any]:
    status = os.stat(path)
    return [status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns]


def _is_of_a_file(manifest: str) -> bool:
    try:
        with open(manifest, encoding="utf-8") as file:
            return os.path.exists(json.load(file)["path"])
    except (ValueError, KeyError, TypeError):
        return False
