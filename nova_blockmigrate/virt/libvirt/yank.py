"""A way out of a network that swallows everything: QEMU's `yank` closes the sockets of a migration that is to end.

A cancelled disk mirror waits for its requests, and those for TCP, which gives up after a quarter of an hour. libvirt (9.0)
does not use the command; `yank` and `query-yank` are in QEMU's QMP reference (since 6.0).
"""

from __future__ import annotations

import json
from typing import Any

import libvirt
import libvirt_qemu

MIRROR_PREFIX = "migration-"
"""libvirt's node names of mirror targets: migration-vda-storage."""


def yank(domain: Any) -> bool:
    """Cut what a migration of the domain has open to its destination: memory stream and mirrored disks, nothing else.

    False when there is nothing (any more). :raises libvirt.libvirtError: libvirt or QEMU refused.
    """
    instances = [one for one in _ask(domain, "query-yank") if _is_of_a_migration(one)]
    if instances:
        _ask(domain, "yank", instances=instances)
    return len(instances) > 0


def _is_of_a_migration(instance: dict[str, Any]) -> bool:
    if instance["type"] == "migration":
        return True
    return instance["type"] == "block-node" and str(instance.get("node-name", "")).startswith(MIRROR_PREFIX)


def _ask(domain: Any, command: str, **arguments: Any) -> Any:
    request = {"execute": command} | ({"arguments": arguments} if arguments else {})
    answer = json.loads(libvirt_qemu.qemuMonitorCommand(domain, json.dumps(request), 0))
    if "error" in answer:
        raise libvirt.libvirtError(f"QEMU refused {command}: {answer['error'].get('desc')}")
    return answer["return"]
