"""Which disks can be moved: what a disk's XML and the files of its chain say against it. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from nova_blockmigrate.virt.libvirt.domain_xml import DomainDisk

WRITTEN_FORMATS = ("raw", "qcow2")
"""Formats in which an empty file can be made that is like another; layers that nobody writes to may have any."""


def problem_of_source(disk: DomainDisk) -> str:
    """Why a disk cannot be moved for what its XML says; empty when it can, as far as that goes."""
    if disk.shareable and not disk.readonly:
        return "other guests write to it, too (<shareable/>)"
    if disk.transient:
        return "what is written to it is thrown away in the end (<transient/>), so libvirt does not move it"
    if disk.encrypted:
        return "it is encrypted, and its secret would have to be brought along"
    if disk.source_type == "volume":
        return "it is a volume of a libvirt storage pool: name its file by its path instead"
    if disk.source_type == "dir":
        return "it is a directory of the host"
    return ""


def problem_of_chain(info: str | bytes, readonly: bool, is_regular_file: Callable[[str], bool]) -> str:
    """Why a chain cannot be moved, from what qemu-img says of it; empty when it can."""
    for number, item in enumerate(json.loads(info)):
        is_written = number == 0 and not readonly
        if reason := _problem_of_layer(item, is_written, is_regular_file):
            return reason
    return ""


def _problem_of_layer(item: dict[str, Any], is_written: bool, is_regular_file: Callable[[str], bool]) -> str:
    path, data = item["filename"], item.get("format-specific", {}).get("data", {})
    if not path.startswith("/") or not is_regular_file(path):
        return f"{path} is not a file of the host"
    if data.get("data-file"):
        return f"{path} keeps its data in another file ({data['data-file']})"
    if item.get("encrypted") or item["format"] == "luks":
        return f"{path} is encrypted, and its secret would have to be brought along"
    if data.get("corrupt"):
        return f"{path} is marked as corrupt: check it with qemu-img check"
    if is_written and item["format"] not in WRITTEN_FORMATS:
        return f"{path} has the format {item['format']}: convert it to qcow2 or raw"
    if is_written and item.get("snapshots"):
        return f"{path} holds internal snapshots, which a copy would lose: delete them with qemu-img snapshot -d"
    return ""
