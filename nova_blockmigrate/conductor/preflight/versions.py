"""What certain versions of QEMU and libvirt cannot do, as one table. Numbers as libvirt counts them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from nova_blockmigrate.conductor.preflight.facts import Facts
from nova_blockmigrate.conductor.preflight.registry import Answer, check, failed, passed, unknown, warning


def version(major: int, minor: int = 0, release: int = 0) -> int:
    return major * 1_000_000 + minor * 1_000 + release


@dataclasses.dataclass(frozen=True)
class Pair:
    """What the table looks at: versions of both hosts, and how guests are sent."""

    source_qemu: int
    destination_qemu: int
    source_libvirt: int
    destination_libvirt: int
    flags: frozenset[str] = frozenset()
    """Without VIR_MIGRATE_."""
    expands_zeroes: bool = False

    @property
    def oldest_qemu(self) -> int:
        return min(self.source_qemu, self.destination_qemu)

    @property
    def newest_qemu(self) -> int:
        return max(self.source_qemu, self.destination_qemu)

    @property
    def oldest_libvirt(self) -> int:
        return min(self.source_libvirt, self.destination_libvirt)


@dataclasses.dataclass(frozen=True)
class Trap:
    name: str
    applies: Callable[[Pair], bool]
    why: str
    remedy: str
    forbids: bool = True
    """Else it is a warning."""


TRAPS = (
    Trap("libvirt-8.0", lambda pair: pair.oldest_libvirt < version(8), "libvirt before 8.0 is not supported", "upgrade libvirt"),
    Trap(
        "libvirt-9.0",
        lambda pair: version(8) <= pair.oldest_libvirt < version(9),
        "libvirt before 9.0 was never tested with this software",
        "upgrade libvirt",
        forbids=False,
    ),
    Trap(
        "tunnelled",
        lambda pair: "TUNNELLED" in pair.flags and bool(pair.flags & {"NON_SHARED_INC", "NON_SHARED_DISK"}),
        "libvirt cannot tunnel disks (VIR_MIGRATE_TUNNELLED)",
        "remove the flag, use TLS instead",
    ),
    Trap(
        "parallel-postcopy",
        lambda pair: {"PARALLEL", "POSTCOPY"} <= pair.flags and pair.oldest_qemu < version(10, 1),
        "parallel connections with post-copy need QEMU 10.1 on both hosts",
        "remove one of the flags",
    ),
    Trap(
        "zerocopy",
        lambda pair: "ZEROCOPY" in pair.flags and (pair.oldest_libvirt < version(8, 5) or pair.oldest_qemu < version(7, 1)),
        "VIR_MIGRATE_ZEROCOPY needs libvirt 8.5 and QEMU 7.1",
        "remove the flag",
    ),
    Trap(
        "multifd-7.1-9.2",
        lambda pair: "PARALLEL" in pair.flags and pair.oldest_qemu < version(7, 2) and pair.newest_qemu >= version(9, 2),
        "parallel connections between QEMU 7.1 or older and 9.2 or later break (QEMU issue 2720)",
        "set live_migration_parallel_connections to 1",
    ),
    Trap(
        "sparse-mirror",
        lambda pair: pair.expands_zeroes and version(9, 0, 999) < pair.source_qemu < version(10, 1),
        "QEMU after 9.0 and before 10.1 writes zeroes out in full on the destination: the disk loses its holes",
        "give the disks discard='unmap' and detect_zeroes='unmap'",
        forbids=False,
    ),
    Trap(
        "gnutls",
        lambda pair: "TLS" in pair.flags,
        "a defect of GnuTLS can crash the source's QEMU in long migrations over TLS (libvirt's news of 11.6)",
        "update GnuTLS on both hosts, or set tls_priority in qemu.conf as libvirt's news of 11.6 says",
        forbids=False,
    ),
)


def traps(pair: Pair) -> list[Trap]:
    """Those that this pair of hosts would step into."""
    return [trap for trap in TRAPS if trap.applies(pair)]


@check("versions", where="conductor", title="No known trap of these versions")
def versions(facts: Facts) -> Answer:
    source, destination = facts.source.resources, facts.destination.resources
    if source is None or destination is None or facts.source.survey is None:
        return unknown("the versions of both hosts must be known to be compared")
    found = traps(
        Pair(
            source.hypervisor_version,
            destination.hypervisor_version,
            source.libvirt_version,
            destination.libvirt_version,
            frozenset(flag.removeprefix("VIR_MIGRATE_") for flag in facts.source.survey.flags),
            facts.guest_survey is not None and facts.guest_survey.expands_zeroes,
        )
    )
    forbidding = [trap for trap in found if trap.forbids]
    chosen = forbidding or found
    if not chosen:
        return passed(f"{len(TRAPS)} known traps, none of them here")
    words, remedy = "; ".join(trap.why for trap in chosen), "; ".join(dict.fromkeys(trap.remedy for trap in chosen))
    return failed(words, remedy=remedy) if forbidding else warning(words, remedy=remedy)
