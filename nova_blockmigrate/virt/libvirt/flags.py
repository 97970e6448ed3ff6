"""Flags of migrations: from lists of VIR_MIGRATE_ names to libvirt's numbers, refused when they cannot work.

Pure: names in, number out, or a ConfigurationError that names the flag, the option and what to do. Every rule is something
that libvirt or QEMU would reject (or silently do wrong) in the middle of the first migration.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import libvirt

from nova_blockmigrate.exceptions import ConfigurationError

_PREFIX = "VIR_MIGRATE_"
KNOWN: dict[str, int] = {
    name: getattr(libvirt, name)
    for name in dir(libvirt)
    if name.startswith(_PREFIX) and not name.startswith(_PREFIX + "PARAM_") and isinstance(getattr(libvirt, name), int)
}
_COPY_ALL, _COPY_INCREMENTAL = "NON_SHARED_DISK", "NON_SHARED_INC"
_POST_COPY = "POSTCOPY"


@dataclasses.dataclass(frozen=True)
class _Rule:
    """`flag` does not go with any of `other`; `remedy` says what to do."""

    flag: str
    other: tuple[str, ...]
    why: str
    remedy: str


_CONTRADICTIONS = (
    _Rule(_COPY_ALL, (_COPY_INCREMENTAL,), "both say how disks are copied", "keep VIR_MIGRATE_NON_SHARED_INC only"),
    _Rule(
        "TUNNELLED", (_COPY_ALL, _COPY_INCREMENTAL), "libvirt cannot tunnel disks", "remove VIR_MIGRATE_TUNNELLED, use TLS instead"
    ),
    _Rule("TUNNELLED", ("TLS",), "the tunnel is libvirt's own connection, not QEMU's", "remove VIR_MIGRATE_TUNNELLED"),
    _Rule("TUNNELLED", ("PARALLEL",), "a tunnel has one connection", "remove VIR_MIGRATE_TUNNELLED"),
    _Rule("TUNNELLED", (_POST_COPY,), "pages cannot be asked for through a tunnel", "remove VIR_MIGRATE_TUNNELLED"),
    _Rule("ZEROCOPY", ("TLS", "COMPRESSED"), "encrypted or compressed pages are copies", "remove VIR_MIGRATE_ZEROCOPY"),
    _Rule("COMPRESSED", ("PARALLEL",), "xbzrle does not work over parallel connections", "remove VIR_MIGRATE_COMPRESSED"),
    _Rule("OFFLINE", ("LIVE",), "a guest is moved running or not", "remove VIR_MIGRATE_OFFLINE"),
)

_REFUSED = {
    "POSTCOPY": "whether post-copy is wanted is for [libvirt] live_migration_permit_post_copy to say",
    "POSTCOPY_RESUME": "it continues a post-copy migration that broke, which is done without being asked for",
    "CHANGE_PROTECTION": "libvirt sets it by itself",
    "OFFLINE": "guests are moved running",
    "UNSAFE": "it turns off libvirt's check for cache modes that lose data",
    "ABORT_ON_ERROR": "a disk error of the guest would end the migration instead of reaching the guest",
}
_REQUIRED = {
    "PEER2PEER": "the transfer must go on when this service is restarted",
    "LIVE": "the guest must run while it is copied",
}
_NEEDS = (("ZEROCOPY", "PARALLEL"), ("NON_SHARED_SYNCHRONOUS_WRITES", _COPY_INCREMENTAL))


@dataclasses.dataclass(frozen=True)
class Wishes:
    """What other options add to the lists."""

    parallel_connections: int = 1
    native_tls: bool = False
    auto_converge: bool = False
    post_copy: bool = False


def live_flags(names: Iterable[str], wishes: Wishes) -> int:
    """Number for `[libvirt] live_migration_flag`, with what the other options add.

    :raises ConfigurationError: unknown, contradictory or missing flags.
    """
    return _number(names, wishes, "live_migration_flag", copies_disks=False)


def block_flags(names: Iterable[str], wishes: Wishes) -> int:
    """The same for `[libvirt] block_migration_flag`."""
    return _number(names, wishes, "block_migration_flag", copies_disks=True)


def is_unprotected(uri: str) -> bool:
    """Whether a connection URI (`live_migration_uri`) means neither encryption nor authentication."""
    scheme = uri.partition(":")[0]
    return scheme.partition("+")[2] == "tcp"


def check_uri(uri: str) -> None:
    """:raises ConfigurationError: `live_migration_uri` has no place for the host, or no transport."""
    if uri.count("%s") != 1:
        raise ConfigurationError(
            detail=f"[libvirt] live_migration_uri {uri!r} must contain %s once: the destination host goes there"
        )
    if not uri.startswith("qemu+"):
        raise ConfigurationError(
            detail=f"[libvirt] live_migration_uri {uri!r} names no transport: use qemu+tls://%s/system, or qemu+tcp:// or qemu+ssh://"
        )


def _number(names: Iterable[str], wishes: Wishes, option: str, copies_disks: bool) -> int:
    chosen = {_short(name.strip(), option) for name in names if name.strip()}
    _check_parallel(chosen, wishes, option)
    _check_alone(chosen, option)
    chosen |= _added(wishes)
    _check_disks(chosen, option, copies_disks)
    _check_together(chosen, option)
    number = 0
    for name in chosen:
        number |= KNOWN[_PREFIX + name]
    return number


def _short(name: str, option: str) -> str:
    if name not in KNOWN:
        raise _refuse(option, f"{name} is not a flag that this libvirt knows", "correct its name or remove it")
    return name.removeprefix(_PREFIX)


def _added(wishes: Wishes) -> set[str]:
    added = set()
    if wishes.parallel_connections > 1:
        added.add("PARALLEL")
    if wishes.native_tls:
        added.add("TLS")
    if wishes.post_copy:
        added.add(_POST_COPY)
    elif wishes.auto_converge:
        added.add("AUTO_CONVERGE")
    return added


def _check_parallel(chosen: set[str], wishes: Wishes, option: str) -> None:
    if "PARALLEL" in chosen and wishes.parallel_connections < 2:
        raise _refuse(
            option,
            "VIR_MIGRATE_PARALLEL says nothing without a number of connections",
            "set [libvirt] live_migration_parallel_connections to 2 or more, or remove the flag",
        )


def _check_alone(chosen: set[str], option: str) -> None:
    for name in sorted(chosen & _REFUSED.keys()):
        raise _refuse(option, f"{_PREFIX}{name} is not accepted: {_REFUSED[name]}", "remove it")
    for name, why in _REQUIRED.items():
        if name not in chosen:
            raise _refuse(option, f"{_PREFIX}{name} is missing: {why}", "add it")


def _check_disks(chosen: set[str], option: str, copies_disks: bool) -> None:
    copying = sorted(chosen & {_COPY_ALL, _COPY_INCREMENTAL, "NON_SHARED_SYNCHRONOUS_WRITES"})
    if not copies_disks and copying:
        raise _refuse(option, f"{_PREFIX}{copying[0]} copies disks", "move it to [libvirt] block_migration_flag")
    if copies_disks and _COPY_INCREMENTAL not in chosen and _COPY_ALL not in chosen:
        raise _refuse(option, "without VIR_MIGRATE_NON_SHARED_INC no disk is copied", "add it")
    if copies_disks and chosen >= {_COPY_ALL} and _COPY_INCREMENTAL not in chosen:
        raise _refuse(option, "VIR_MIGRATE_NON_SHARED_DISK would copy base images too", "use VIR_MIGRATE_NON_SHARED_INC instead")


def _check_together(chosen: set[str], option: str) -> None:
    for rule in _CONTRADICTIONS:
        clash = [name for name in rule.other if name in chosen]
        if rule.flag in chosen and clash:
            raise _refuse(option, f"{_PREFIX}{rule.flag} and {_PREFIX}{clash[0]} exclude each other: {rule.why}", rule.remedy)
    for name, needed in _NEEDS:
        if name in chosen and needed not in chosen:
            raise _refuse(option, f"{_PREFIX}{name} needs {_PREFIX}{needed}", "add that, or remove it")


def _refuse(option: str, what: str, remedy: str) -> ConfigurationError:
    return ConfigurationError(detail=f"[libvirt] {option}: {what}. To do: {remedy}.")
