"""The values that cross borders: between services, between layers, between hosts.

Frozen dataclasses with full types. They become dictionaries only at RPC, JSON and SQL, and only through
`to_primitive` and `from_primitive`. Nothing here does I/O. Sizes carry their unit in the name.
"""

from nova_blockmigrate.objects.guest import DiskLayer, GuestDescription, GuestDisk, GuestLoad
from nova_blockmigrate.objects.host import HostResources
from nova_blockmigrate.objects.migration import (
    Artefact,
    Copy,
    MigrationPlan,
    Observation,
    PreparedDestination,
    TransferOutcome,
    TransferProgress,
    Verdict,
)
from nova_blockmigrate.objects.network import (
    AddressPair,
    FixedIp,
    GroupRule,
    NamedGroup,
    NetworkPort,
    SecurityRule,
    Segment,
    SegmentKind,
    Vif,
    VifType,
    WantedPort,
)
from nova_blockmigrate.objects.primitives import from_primitive, to_primitive
from nova_blockmigrate.objects.reports import CheckResult, Finding, StepReport, StepState
from nova_blockmigrate.objects.server import ROOT_DEVICE, ImageRef, Server, VolumeConnection
from nova_blockmigrate.objects.states import (
    IN_PROGRESS_STATUSES,
    GroupPolicy,
    MappingState,
    MigrationStatus,
    PowerState,
    TaskState,
    VmState,
)

__all__ = [
    "IN_PROGRESS_STATUSES",
    "ROOT_DEVICE",
    "AddressPair",
    "Artefact",
    "CheckResult",
    "Copy",
    "DiskLayer",
    "Finding",
    "FixedIp",
    "GroupPolicy",
    "GroupRule",
    "GuestDescription",
    "GuestDisk",
    "GuestLoad",
    "HostResources",
    "ImageRef",
    "MappingState",
    "MigrationPlan",
    "MigrationStatus",
    "NamedGroup",
    "NetworkPort",
    "Observation",
    "PowerState",
    "PreparedDestination",
    "SecurityRule",
    "Segment",
    "SegmentKind",
    "Server",
    "StepReport",
    "StepState",
    "TaskState",
    "TransferOutcome",
    "TransferProgress",
    "Verdict",
    "Vif",
    "VifType",
    "VmState",
    "VolumeConnection",
    "WantedPort",
    "from_primitive",
    "to_primitive",
]
