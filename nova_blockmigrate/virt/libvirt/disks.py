"""Disk files of guests: reading their backing chains, making the files that receive a copied disk. qemu-img does the work."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

from nova_blockmigrate import processes
from nova_blockmigrate.exceptions import StorageError
from nova_blockmigrate.objects import DiskLayer

QEMU_IMG_TIMEOUT_S = 60.0
GIB = 1024**3


def parse_chain(text: str | bytes) -> tuple[DiskLayer, ...]:
    """Layers from the output of `qemu-img info --backing-chain --output=json`, the one that is written to first."""
    return tuple(_layer(item) for item in json.loads(text))


def _layer(item: dict[str, Any]) -> DiskLayer:
    data = item.get("format-specific", {}).get("data", {})
    return DiskLayer(
        path=item["filename"],
        format=item["format"],
        virtual_size_bytes=item["virtual-size"],
        allocated_bytes=item.get("actual-size", 0),
        cluster_size_bytes=item.get("cluster-size", 0),
        compat=data.get("compat", "") if item["format"] == "qcow2" else "",
        backing_format=item.get("backing-filename-format", ""),
        features=_features(data) if item["format"] == "qcow2" else (),
    )


def _features(data: dict[str, Any]) -> tuple[str, ...]:
    """Options of qcow2, where they differ from what qemu-img takes by itself."""
    options = [f"{name}=on" for name in ("lazy_refcounts", "extended_l2") if data.get(name.replace("_", "-"))]
    if data.get("refcount-bits", 16) != 16:
        options.append(f"refcount_bits={data['refcount-bits']}")
    if data.get("compression-type", "zlib") != "zlib":
        options.append(f"compression_type={data['compression-type']}")
    return tuple(options)


def read_chain(path: str, format_hint: str, host: str) -> tuple[DiskLayer, ...]:
    """The backing chain of a disk that a guest may be using, without hashes.

    :raises StorageError: a file of the chain is missing or cannot be read.
    """
    return parse_chain(chain_info(path, format_hint, host))


def chain_info(path: str, format_hint: str, host: str) -> bytes:
    """What qemu-img says of a backing chain, in JSON.

    :raises StorageError: a file of the chain is missing or cannot be read.
    """
    command = ["qemu-img", "info", "-U", "--backing-chain", "--output=json"]
    command += ["-f", format_hint] if format_hint else []
    done = processes.run([*command, path], QEMU_IMG_TIMEOUT_S)
    if done.returncode != 0:
        raise StorageError(host=host, action=f"read the chain of {path}", reason=done.failure)
    return done.stdout


def creation_command(path: str, layer: DiskLayer, backing: DiskLayer | None) -> list[str]:
    """The command that makes an empty file with exactly the parameters of `layer`, on top of `backing`.

    libvirt compares sizes to the byte, and never looks at the bytes of a base. `-u`: the backing file is not opened, its
    format and the size are given.
    """
    options = []
    if layer.format == "qcow2":
        options += [f"cluster_size={layer.cluster_size_bytes}"] if layer.cluster_size_bytes else []
        options += [f"compat={layer.compat}"] if layer.compat else []
        options += layer.features
    command = ["qemu-img", "create", "-q", "-f", layer.format]
    command += ["-o", ",".join(options)] if options else []
    command += ["-u", "-b", backing.path, "-F", backing.format] if backing else []
    return [*command, path, str(layer.virtual_size_bytes)]


def create(path: str, layer: DiskLayer, backing: DiskLayer | None, host: str) -> None:
    """Make an empty file like `layer`; a file of that name is replaced.

    :raises StorageError: qemu-img failed.
    """
    if layer.format == "raw" and backing is None:
        _create_raw(path, layer.virtual_size_bytes, host)
        return
    done = processes.run(creation_command(path, layer, backing), QEMU_IMG_TIMEOUT_S)
    if done.returncode != 0:
        raise StorageError(host=host, action=f"create {path}", reason=done.failure)


def _create_raw(path: str, size_bytes: int, host: str) -> None:
    try:
        with open(path, "wb") as file:
            file.truncate(size_bytes)
    except OSError as error:
        raise StorageError(host=host, action=f"create {path}", reason=str(error)) from error


def matches(path: str, layer: DiskLayer, backing: DiskLayer | None, read: Callable[[str], tuple[DiskLayer, ...]]) -> bool:
    """Whether the file at `path` is what `create` would make."""
    if not os.path.exists(path):
        return False
    here, *below = read(path)
    same = (here.format, here.virtual_size_bytes) == (layer.format, layer.virtual_size_bytes)
    return same and (below[0].path if below else None) == (backing.path if backing else None)


def new_overlay(path: str, base: DiskLayer, size_bytes: int, host: str) -> None:
    """The first disk of a server: a qcow2 overlay on its base image."""
    create(path, DiskLayer(path, "qcow2", max(size_bytes, base.virtual_size_bytes), 0), base, host)


def flush(paths: list[str]) -> None:
    """Bring files, and the directories that list them, to stable storage. What is gone is left out."""
    for path in [*paths, *dict.fromkeys(os.path.dirname(path) for path in paths)]:
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
