"""Hashes of files that nobody writes to, kept in a small file beside each, so that each is computed once.

A manifest is believed as long as the file's inode, size, modification and change times are those that it names.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
from typing import Any

SUFFIX = ".sha256.json"


def sha256_of(path: str) -> str:
    """Hash of a file's bytes: from its manifest when that still fits, else computed and written down."""
    known = recorded(path)
    return known or record(path, compute(path))


def recorded(path: str) -> str:
    """The hash in the manifest, when that fits the file; else an empty string."""
    try:
        with open(path + SUFFIX, encoding="ascii") as file:
            manifest = json.load(file)
        return str(manifest["sha256"]) if manifest["identity"] == _identity(path) else ""
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return ""


def record(path: str, sha256: str) -> str:
    """Write the manifest of a file; returns the hash. Where that is not allowed (read-only), it is left."""
    part = f"{path}{SUFFIX}.{os.getpid()}.part"
    try:
        with open(part, "w", encoding="ascii") as file:
            json.dump({"sha256": sha256, "identity": _identity(path)}, file)
        os.replace(part, path + SUFFIX)
    except PermissionError:
        pass
    except OSError as error:
        if error.errno != errno.EROFS:
            raise
    return sha256


def compute(path: str) -> str:
    """Hash of a file's bytes, read now."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _identity(path: str) -> list[Any]:
    status = os.stat(path)
    return [status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns]
