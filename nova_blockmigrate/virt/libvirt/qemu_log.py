"""What libvirt wrote into a guest's log on this host: it knows there how a guest ended, also after it was killed amid ending it.

libvirt writes one line when it begins to end a guest, with the reason, before it kills QEMU. A libvirt that dies in between
says after its restart no more than "shut off", and adds a line with the reason "unknown".
"""

from __future__ import annotations

import itertools
import os
import re
from pathlib import Path

LOG_DIRECTORY = "/var/log/libvirt/qemu"
_TAIL_BYTES = 65536
_ENTRY = re.compile(rb"^\d{4}-\d\d-\d\d \S+: (?:(starting up)|shutting down, reason=(\w+))", re.MULTILINE)


def was_migrated(domain_name: str, directory: str = LOG_DIRECTORY) -> bool:
    """Whether libvirt has ended the guest's last life here because it has moved away. False, too, without a log to read."""
    try:
        with Path(directory, f"{domain_name}.log").open("rb") as log:
            log.seek(max(0, os.fstat(log.fileno()).st_size - _TAIL_BYTES))
            entries = _ENTRY.findall(log.read())
    except OSError:
        return False
    last_life = itertools.takewhile(lambda entry: not entry[0], reversed(entries))
    return any(reason == b"migrated" for _, reason in last_life)
