"""Configuration files of libvirt's daemons: lines of `name = value`, read as far as we need them."""

from __future__ import annotations

import re
from pathlib import Path

QEMU = Path("/etc/libvirt/qemu.conf")
LIBVIRTD = Path("/etc/libvirt/libvirtd.conf")
VIRTPROXYD = Path("/etc/libvirt/virtproxyd.conf")
_SETTING = re.compile(r"""^\s*(\w+)\s*=\s*["']?([^"'#]*?)["']?\s*(#.*)?$""")


def parse(text: str) -> dict[str, str]:
    """What a file sets; lists are left out."""
    found = (_SETTING.match(line) for line in text.splitlines() if not line.lstrip().startswith("#"))
    return {match[1]: match[2] for match in found if match}


def read(path: Path) -> dict[str, str]:
    """The same for a file; nothing when it cannot be read."""
    try:
        return parse(path.read_text(errors="replace"))
    except OSError:
        return {}
