"""Live migration of KVM guests with local disks: services, compute driver and tools."""
