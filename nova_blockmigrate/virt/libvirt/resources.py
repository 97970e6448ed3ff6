"""What a host is and has: libvirt's capabilities, memory, processors, disk; and what it thinks of a guest's CPU."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import time
from pathlib import Path
from typing import Any

import libvirt
from lxml import etree

from nova_blockmigrate.exceptions import HypervisorError
from nova_blockmigrate.objects import HostResources, PowerState
from nova_blockmigrate.virt.libvirt.host import Host
from nova_blockmigrate.virt.libvirt.observe import power_state

GIB = 1024**3
ARCH = os.uname().machine


@functools.lru_cache(maxsize=8)
def _parsed_capabilities(xml: str) -> Any:
    return etree.fromstring(xml.encode())


class Capabilities:
    """libvirt's capabilities of one host. Asked for each time, which takes libvirt a millisecond once it has them: QEMU may have
    been changed while we run."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def load(self) -> Any:
        """The root element. The first time takes libvirt some 100 ms."""
        with self._host.errors("describe the host"):
            return _parsed_capabilities(self._host.connection().getCapabilities())

    def machine_types(self, arch: str) -> set[str]:
        """Names (and aliases) of the machines that guests of `arch` can have here."""
        return {node.text for node in self.load().iterfind(f"guest/arch[@name='{arch}']//machine")}

    def host_uuid(self) -> str:
        """libvirt's UUID of the host."""
        return str(self.load().findtext("host/uuid", ""))

    def cpu_info(self) -> str:
        """Nova's `cpu_info`: a JSON object."""
        cpu = self.load().find("host/cpu")
        topology = cpu.find("topology")
        return json.dumps(
            {
                "arch": cpu.findtext("arch", ARCH),
                "model": cpu.findtext("model", ""),
                "vendor": cpu.findtext("vendor", ""),
                "topology": {key: int(value) for key, value in topology.attrib.items()} if topology is not None else {},
                "features": sorted(feature.get("name") for feature in cpu.iterfind("feature")),
            }
        )


def usable_cpu_models(host: Host, virt_type: str) -> set[str]:
    """CPU models that guests can have here under mode custom."""
    with host.errors("list CPU models"):
        xml = host.connection().getDomainCapabilities(None, ARCH, None, virt_type)
    tree = etree.fromstring(xml.encode())
    return {node.text or "" for node in tree.iterfind("cpu/mode[@name='custom']/model[@usable='yes']")}


def why_cpu_unfit(host: Host, virt_type: str, machine: str, cpu_xml: str) -> str:
    """Why a guest's CPU cannot be had on this host, in words; empty when it can."""
    try:
        with host.errors("compare CPUs"):
            result = host.connection().compareHypervisorCPU(None, ARCH, machine or None, virt_type, cpu_xml)
    except HypervisorError as error:  # a refusal to compare (unknown model, missing feature) is the answer
        return error.message
    if result == libvirt.VIR_CPU_COMPARE_INCOMPATIBLE:
        return "the hypervisor lacks features of it"
    return ""


def measure(host: Host, capabilities: Capabilities, name: str, host_ip: str, instances_path: str) -> HostResources:
    """The host's figures at this moment."""
    connection = host.connection()
    cpu_info = capabilities.cpu_info()  # first: it has libvirt look at its QEMU again, which was perhaps changed
    with host.errors("describe the host"):
        running = connection.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE)
        vcpus = connection.getInfo()[2]
        vcpus_used = sum(_vcpus(domain) for domain in running)
        libvirt_version = connection.getLibVersion()
        hypervisor_hostname = connection.getHostname()
    memory = _memory_kib()
    disk_bytes, disk_free_bytes = _disk_bytes(instances_path)
    return HostResources(
        host=name,
        hypervisor_hostname=hypervisor_hostname,
        hypervisor_type="QEMU",
        hypervisor_version=_qemu_version(connection),
        libvirt_version=libvirt_version,
        host_ip=host_ip,
        vcpus=vcpus,
        vcpus_used=vcpus_used,
        memory_mib=memory["MemTotal"] // 1024,
        memory_used_mib=(memory["MemTotal"] - memory["MemAvailable"]) // 1024,
        disk_gib=disk_bytes // GIB,
        disk_used_gib=(disk_bytes - disk_free_bytes) // GIB,
        disk_free_bytes=disk_free_bytes,
        running_vms=len(running),
        cpu_info=cpu_info,
        uptime=_uptime(),
    )


def power_states(host: Host) -> dict[str, PowerState]:
    """Nova's power states of all domains, by their UUIDs; one that ends meanwhile is left out."""
    found = {}
    with host.errors("list domains"):
        domains = host.connection().listAllDomains()
    for domain in domains:
        with contextlib.suppress(libvirt.libvirtError):
            found[domain.UUIDString()] = power_state(*domain.state())
    return found


def _qemu_version(connection: Any) -> int:
    """0 when QEMU cannot be run: the rest of the host is told all the same."""
    try:
        return int(connection.getVersion())
    except libvirt.libvirtError:
        return 0


def _disk_bytes(path: str) -> tuple[int, int]:
    """(all, free); none when there is no such directory."""
    try:
        disk = os.statvfs(path)
    except OSError:
        return 0, 0
    return disk.f_blocks * disk.f_frsize, disk.f_bavail * disk.f_frsize


def _vcpus(domain: Any) -> int:
    try:
        return int(domain.info()[3])
    except libvirt.libvirtError:  # it ended meanwhile
        return 0


def _memory_kib() -> dict[str, int]:
    lines = Path("/proc/meminfo").read_text().splitlines()
    return {name.rstrip(":"): int(value) for name, value, *_ in map(str.split, lines)}


def _uptime() -> str:
    """As the command `uptime` says it; Nova shows that text."""
    seconds = float(Path("/proc/uptime").read_text().split()[0])
    days, minutes = int(seconds // 86400), int(seconds % 86400 // 60)
    load = Path("/proc/loadavg").read_text().split()[:3]
    up = f"{days} days, " if days else ""
    return f" {time.strftime('%H:%M:%S')} up {up}{minutes // 60:2d}:{minutes % 60:02d},  load average: {', '.join(load)}"
