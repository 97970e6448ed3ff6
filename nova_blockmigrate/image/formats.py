"""What an image file must not be. Users upload images: a qcow2 header could name a file of the host for its contents.

Read here, and not by a program that would open what the header names.
"""

from __future__ import annotations

import struct

QCOW2_MAGIC = b"QFI\xfb"
_HEADER = struct.Struct(">4sIQIIQI")
"""magic, version, offset and length of the backing file's name, cluster bits, virtual size, encryption method"""
_INCOMPATIBLE_FEATURES = struct.Struct(">Q")
_INCOMPATIBLE_OFFSET = 72
_EXTERNAL_DATA = 1 << 2
FORMATS = ("raw", "qcow2")


def why_unacceptable(path: str, disk_format: str) -> str:
    """Why a file cannot be used as an image of a format, in words; empty when it can."""
    if disk_format not in FORMATS:
        return f"its format is {disk_format}: raw and qcow2 can be used"
    if disk_format == "raw":
        return ""
    with open(path, "rb") as file:
        header = file.read(_INCOMPATIBLE_OFFSET + _INCOMPATIBLE_FEATURES.size)
    if len(header) < _INCOMPATIBLE_OFFSET or not header.startswith(QCOW2_MAGIC):
        return "it is no qcow2 file"
    _, version, backing_offset, _, _, _, encryption = _HEADER.unpack_from(header)
    if backing_offset:
        return "it is an overlay on another file"
    if encryption:
        return "it is encrypted"
    features = _INCOMPATIBLE_FEATURES.unpack_from(header, _INCOMPATIBLE_OFFSET)[0] if version >= 3 and len(header) > 72 else 0
    return "its data are in another file" if features & _EXTERNAL_DATA else ""
