"""What a compute host is and has."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class HostResources:
    """What a host reports of itself: Nova's compute node, less what the database computes."""

    host: str
    hypervisor_hostname: str
    hypervisor_type: str
    hypervisor_version: int
    """QEMU's version as libvirt counts: major * 1,000,000 + minor * 1,000 + release."""
    libvirt_version: int
    host_ip: str
    vcpus: int
    vcpus_used: int
    memory_mib: int
    memory_used_mib: int
    disk_gib: int
    disk_used_gib: int
    disk_free_bytes: int
    running_vms: int
    cpu_info: str
    """JSON object: arch, model, vendor, topology, features; Nova's `cpu_info`."""
    uptime: str = ""

    @property
    def memory_free_mib(self) -> int:
        return self.memory_mib - self.memory_used_mib
