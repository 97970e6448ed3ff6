"""What stands in the way of a guest on its own host: snapshots, jobs, devices, QEMU's blockers. Reads only.

QEMU's blockers are asked for (`query-migrate`, which changes nothing in QEMU) only when the domain is tainted by monitor
commands already: libvirt marks a domain for ever that got one, and a check changes nothing. For other domains nothing is
lost but time: libvirt asks the same itself when a migration begins, before a byte is copied.
"""

from __future__ import annotations

import contextlib
import json
import os
from typing import Any

import libvirt
import libvirt_qemu
from lxml import etree

from nova_blockmigrate.objects import Server
from nova_blockmigrate.survey import GuestSurvey
from nova_blockmigrate.virt.libvirt.host import Host
from nova_blockmigrate.virt.libvirt.volumes import without_volumes

_BLOCK_JOBS = {
    libvirt.VIR_DOMAIN_BLOCK_JOB_TYPE_PULL: "block pull",
    libvirt.VIR_DOMAIN_BLOCK_JOB_TYPE_COPY: "block copy",
    libvirt.VIR_DOMAIN_BLOCK_JOB_TYPE_COMMIT: "block commit",
    libvirt.VIR_DOMAIN_BLOCK_JOB_TYPE_ACTIVE_COMMIT: "active block commit",
    libvirt.VIR_DOMAIN_BLOCK_JOB_TYPE_BACKUP: "backup",
}
_MONITOR_TAINT = "monitor"

IMMOVABLE = (
    ("devices/hostdev", "a device of the host is passed through"),
    ("devices/interface[@type='hostdev']", "a network device of the host is passed through"),
    ("devices/interface[@type='vdpa']", "a vDPA device of the host is passed through"),
    ("devices/interface[@type='vhostuser']", "a network device is served by a process of the host"),
    ("devices/tpm/backend[@type='passthrough']", "the host's TPM is passed through"),
    ("devices/tpm/backend[@type='external']", "its TPM is run by somebody else"),
    ("devices/filesystem", "a file system of the host is shared with it"),
    ("devices/shmem[not(@role='master')]", "memory is shared with other processes of the host"),
    ("devices/disk[@type='nvme']", "an NVMe device of the host is passed through"),
    ("devices/disk[@type='vhostuser' or @type='vhostvdpa']", "a disk is served by a process of the host"),
    ("devices/disk[@device='lun' and @type='block']", "a SCSI device of the host is passed through"),
    ("devices/disk[@type='block' and not(readonly) and not(@device='cdrom')]", "a disk is a block device of the host"),
    ("devices/memory[@model='nvdimm' or @model='virtio-pmem']", "its persistent memory is a file of the host"),
    ("launchSecurity", "its memory is encrypted for this host"),
    ("cpu/feature[@policy='require' and @name='invtsc']", "its clock (invtsc) counts as this host's processor does"),
)
"""What cannot move, as XPath below <domain>, and why. (vTPMs of swtpm move; their secret is looked for at the destination.)"""


def survey(host: Host, server: Server) -> GuestSurvey:
    """
    :raises GuestNotFound: libvirt does not know it.
    """
    domain = host.domain(server.uuid, server.domain_name)
    with host.errors("look the guest over", server.domain_name):
        tree = etree.fromstring(domain.XMLDesc(0).encode())
        local = without_volumes(tree, server)
        return GuestSurvey(
            snapshots=tuple(snapshot.getName() for snapshot in domain.listAllSnapshots()),
            jobs=(*_block_jobs(domain, tree), *_domain_job(domain)),
            immovable=immovable(local),
            blockers=_blockers(domain),
            inodes=_inodes(local),
            base_formats=base_formats(local),
            expands_zeroes=expands_zeroes(local),
        )


def immovable(tree: Any) -> tuple[str, ...]:
    """Devices in a domain's XML that cannot move, each with the reason."""
    return tuple(f"{why} ({_name(node)})" for path, why in IMMOVABLE for node in tree.xpath(path))


def _name(node: Any) -> str:
    """How an administrator finds the device in the XML."""
    alias = node.find("alias")
    if alias is not None:
        return f"{node.tag} {alias.get('name')}"
    target = node.find("target")
    named = node.get("name") or (target.get("dev") or target.get("dir") if target is not None else None)
    return f"{node.tag} {named}" if named else str(node.tag)


def expands_zeroes(tree: Any) -> bool:
    """Whether some disk that is copied would not give zeroed clusters back."""
    drivers = tree.xpath("devices/disk[@type='file' and @device='disk' and not(readonly)]/driver")
    return any(driver.get("discard") != "unmap" for driver in drivers)


def base_formats(tree: Any) -> dict[str, str]:
    """Formats that libvirt has told QEMU, by the file."""
    found = {}
    for layer in tree.xpath("devices/disk//backingStore[format and source/@file]"):
        found[layer.find("source").get("file")] = layer.find("format").get("type", "")
    return found


def _inodes(tree: Any) -> dict[str, int]:
    found = {}
    for source in tree.xpath("devices/disk[@type='file' and not(readonly)]/source"):
        with contextlib.suppress(OSError):  # a file that is missing is the chain's affair
            found[source.get("file", "")] = os.stat(source.get("file", "")).st_ino
    return found


def _block_jobs(domain: Any, tree: Any) -> list[str]:
    jobs = []
    for target in tree.xpath("devices/disk[@device='disk']/target/@dev"):
        try:
            job = domain.blockJobInfo(target, 0)
        except libvirt.libvirtError:  # it is shut off, or the disk is empty
            continue
        if job:
            jobs.append(f"{_BLOCK_JOBS.get(job['type'], 'a block job')} of {target}")
    return jobs


def _domain_job(domain: Any) -> list[str]:
    try:
        kind = domain.jobInfo()[0]
    except libvirt.libvirtError:  # it is shut off
        return []
    busy = kind in (libvirt.VIR_DOMAIN_JOB_BOUNDED, libvirt.VIR_DOMAIN_JOB_UNBOUNDED)
    return ["a job of the whole domain (migration, save, dump or backup)"] if busy else []


def _blockers(domain: Any) -> tuple[str, ...] | None:
    if not domain.isActive():
        return ()
    if not any(_MONITOR_TAINT in text for text in domain.messages(libvirt.VIR_DOMAIN_MESSAGE_TAINTING)):
        return None
    answer = json.loads(libvirt_qemu.qemuMonitorCommand(domain, json.dumps({"execute": "query-migrate"}), 0))
    return tuple(answer.get("return", {}).get("blocked-reasons", ()))
