"""Security groups and anti-spoofing as nftables text. Pure: values in, one transaction out.

All that concerns a guest stands in the bridge family, where frames pass between taps and uplinks; two chains a tap, reached
by its name, so that they can stand before the tap does. What belongs to a connection that is known is told by the connection
tracking; a kernel that cannot track in the bridge family does it for IP packets on bridges (br_netfilter), and a table of
the inet family turns its verdict into a mark that the bridge family reads.
"""

from __future__ import annotations

import dataclasses
import enum
import ipaddress
import re
import zlib
from collections.abc import Iterable, Iterator

from nova_blockmigrate.objects import SecurityRule, SegmentKind, Vif

TABLE = "blockmigrate"
_ICMPV6 = {"icmp", "icmpv6", "ipv6-icmp", "58"}
_NOBODY = "no address"
_ETHERTYPES = {"IPv4": ("ip", 4), "IPv6": ("ip6", 6)}


class Tracking(enum.StrEnum):
    """How the kernel tells what belongs to a known connection."""

    BRIDGE = "bridge"
    """In the bridge family itself (NF_CONNTRACK_BRIDGE)."""
    BR_NETFILTER = "br_netfilter"
    """By the tracking of IP packets that cross bridges, through a mark."""


@dataclasses.dataclass(frozen=True)
class Guarding:
    """How rules are written on this host."""

    tracking: Tracking
    mark: int = 0x10000
    """The bit of the packet mark that says "known", with `Tracking.BR_NETFILTER`."""

    @property
    def known(self) -> str:
        """The expression for what belongs to a known connection."""
        if self.tracking is Tracking.BRIDGE:
            return "ct state established,related"
        return f"meta mark & {self.mark:#x} == {self.mark:#x}"


# --- the frame that all guests share ------------------------------------------------------------------------------------


def base(guarding: Guarding) -> str:
    """Tables, hooks and maps. Loading it again changes nothing for guests that are guarded already."""
    family = f"bridge {TABLE}"
    lines = [
        f"add table {family}",
        f"add map {family} from_guest {{ type ifname : verdict; }}",
        f"add map {family} to_guest {{ type ifname : verdict; }}",
        *_hook(family, "prerouting", "prerouting", -300),
        *_hook(family, "forward_", "forward", -200),
        *_hook(family, "input", "input", -200),
        *_hook(family, "output", "output", -200),
        f"add rule {family} forward_ iifname vmap @from_guest",
        f"add rule {family} forward_ oifname vmap @to_guest",
        f"add rule {family} input iifname vmap @from_guest",
        f"add rule {family} output oifname vmap @to_guest",
    ]
    if guarding.tracking is Tracking.BRIDGE:
        lines += [
            f"add map {family} zones {{ typeof meta ibrname : ct zone; }}",
            f"add rule {family} prerouting ct zone set meta ibrname map @zones",
        ]
    else:
        lines += [f"add rule {family} prerouting meta mark set meta mark & {0xFFFFFFFF ^ guarding.mark:#x}", *_marks(guarding)]
    return _text(lines)


def _hook(family: str, name: str, hook: str, priority: int) -> list[str]:
    return [
        f"add chain {family} {name} {{ type filter hook {hook} priority {priority}; policy accept; }}",
        f"flush chain {family} {name}",
    ]


def _marks(guarding: Guarding) -> list[str]:
    """The inet table: conntrack's verdict on packets that cross bridges, as a mark."""
    family = f"inet {TABLE}"
    set_mark = f"ct state established,related meta mark set meta mark | {guarding.mark:#x}"
    return [
        f"add table {family}",
        f"add map {family} zones {{ typeof iifname : ct zone; }}",
        *_hook(family, "zone_in", "prerouting", -300),
        *_hook(family, "zone_out", "output", -300),
        *_hook(family, "mark_in", "prerouting", -150),
        *_hook(family, "mark_out", "output", -150),
        f"add rule {family} zone_in ct zone set iifname map @zones",
        f"add rule {family} zone_out ct zone set oifname map @zones",
        f"add rule {family} mark_in {set_mark}",
        f"add rule {family} mark_out {set_mark}",
    ]


# --- one guest ----------------------------------------------------------------------------------------------------------


def guard(vifs: Iterable[Vif], guarding: Guarding) -> str:
    """One transaction that puts the guest's rules in force, or others in the place of those it has."""
    vifs = list(vifs)
    lines = list(_group_sets(vifs))
    for vif in vifs:
        leave, come = _chains(vif.tap)
        lines += [f"add chain bridge {TABLE} {chain}\nflush chain bridge {TABLE} {chain}" for chain in (leave, come)]
        lines += [f"add rule bridge {TABLE} {leave} {rule}" for rule in leaving(vif, guarding)]
        lines += [f"add rule bridge {TABLE} {come} {rule}" for rule in coming(vif, guarding)]
        lines += [_zone(vif, guarding)] if has_zone(vif) else []
        lines += [f"add element bridge {TABLE} {_element('from_guest', vif.tap, leave)}"]
        lines += [f"add element bridge {TABLE} {_element('to_guest', vif.tap, come)}"]
    return _text(lines)


def release(tap: str) -> str:
    """The transaction that takes a tap's rules away; what is not there is added first, so that it can be taken."""
    lines = []
    for name, chain in zip(("from_guest", "to_guest"), _chains(tap), strict=True):
        lines += [f"add chain bridge {TABLE} {chain}"]
        lines += [f"{verb} element bridge {TABLE} {_element(name, tap, chain)}" for verb in ("add", "delete")]
        lines += [f"{verb} chain bridge {TABLE} {chain}" for verb in ("flush", "delete")]
    return _text(lines)


def group_sets_in(listing: str) -> list[str]:
    """Names of the sets of groups, from nft's listing of our table."""
    return re.findall(r"^\s*set (group[46]_\w+) ", listing, re.MULTILINE)


def forget_set(name: str) -> str:
    """The transaction that removes a group's set; the kernel refuses it while a guest's rule uses it."""
    return _text([f"delete set bridge {TABLE} {name}"])


def _chains(tap: str) -> tuple[str, str]:
    return f"from_{tap}", f"to_{tap}"


def _element(name: str, tap: str, chain: str) -> str:
    return f'{name} {{ "{tap}" : jump {chain} }}'


# --- what may leave -----------------------------------------------------------------------------------------------------


def leaving(vif: Vif, guarding: Guarding) -> list[str]:
    """Rules for frames from the guest: its own addresses only, and no services that belong to the network."""
    rules = [f"ether saddr != {vif.mac} drop"]
    rules += _own_arp(vif)
    rules += ["ether type 0x8035 return"]  # RARP: QEMU announces the guest with it when it has moved
    rules += _own_ipv4(vif) + _own_ipv6(vif)
    rules += ["ether type != { ip, ip6 } drop", f"{guarding.known} return"]
    rules += [f"{match} return" for rule in vif.rules if rule.direction == "egress" for match in matches(rule)]
    return [*rules, "drop"]


def _own_arp(vif: Vif) -> list[str]:
    own = _set(["0.0.0.0", *_addresses(vif, 4)])  # noqa: S104 - probes for a duplicate come from 0.0.0.0
    return [
        f"ether type arp arp saddr ether != {vif.mac} drop",
        f"ether type arp arp saddr ip != {own} drop",
        "ether type arp return",
    ]


def _own_ipv4(vif: Vif) -> list[str]:
    addresses = _addresses(vif, 4)
    return [
        "ip saddr 0.0.0.0 udp sport 68 udp dport 67 return",
        f"ip saddr != {_set(addresses)} drop" if addresses else "ether type ip drop",
        "ether type ip udp sport 67 drop",  # it serves no addresses to others
    ]


def _own_ipv6(vif: Vif) -> list[str]:
    addresses = [link_local(vif.mac), *_addresses(vif, 6)]
    return [
        # it looks whether an address is free, and joins groups, before it has one
        "ip6 saddr :: icmpv6 type { nd-neighbor-solicit, nd-router-solicit, mld2-listener-report } return",
        f"ip6 saddr != {_set(addresses)} drop",
        "ether type ip6 udp sport 547 drop",
        "icmpv6 type { nd-router-advert, nd-redirect } drop",  # nor is it a router
        *_own_advertisements(addresses),
        "icmpv6 type { nd-router-solicit, nd-neighbor-solicit, nd-neighbor-advert, mld2-listener-report } return",
    ]


def _own_advertisements(addresses: list[str]) -> list[str]:
    """Neighbour advertisements for its own addresses only: the target follows type, code, checksum and flags (64 bits)."""
    if any("/" in address for address in addresses):
        return []
    targets = ", ".join(f"{int(ipaddress.IPv6Address(address)):#034x}" for address in addresses)
    return [f"icmpv6 type nd-neighbor-advert @th,64,128 != {{ {targets} }} drop"]


# --- what may come ------------------------------------------------------------------------------------------------------


def coming(vif: Vif, guarding: Guarding) -> list[str]:
    """Rules for frames to the guest: none meant for others, then what is known or allowed."""
    rules = [
        f"ether daddr & 01:00:00:00:00:00 == 00:00:00:00:00:00 ether daddr != {vif.mac} drop",
        "ether type arp accept",
        f"{guarding.known} accept",
        "ether type ip udp sport 67 udp dport 68 accept",
        "ether type ip6 udp sport 547 udp dport 546 accept",
        "icmpv6 type { nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert, mld-listener-query } accept",
    ]
    rules += [f"{match} accept" for rule in vif.rules if rule.direction == "ingress" for match in matches(rule)]
    return [*rules, "drop"]


# --- one rule -----------------------------------------------------------------------------------------------------------


def matches(rule: SecurityRule) -> list[str]:
    """The rule's expression; none when it can match nothing (a remote range of the other kind of address)."""
    remote = _remote(rule)
    if remote == _NOBODY:
        return []
    family, version = _ETHERTYPES[rule.ethertype]
    words = [f"ether type {family}", remote, *_protocol(rule, version)]
    return [" ".join(word for word in words if word)]


def _remote(rule: SecurityRule) -> str:
    family, version = _ETHERTYPES[rule.ethertype]
    side = "saddr" if rule.direction == "ingress" else "daddr"
    if rule.remote_group:
        return f"{family} {side} @{_set_name(rule.remote_group, version)}"
    if not rule.remote_cidr:
        return ""
    network = ipaddress.ip_network(rule.remote_cidr, strict=False)
    if network.version != version:
        return _NOBODY
    return f"{family} {side} {network}" if network.prefixlen else ""


def _protocol(rule: SecurityRule, version: int) -> list[str]:
    if not rule.protocol:
        return []
    if rule.protocol in _ICMPV6 and version == 6:
        return _icmp("icmpv6", "ipv6-icmp", rule)
    if rule.protocol == "icmp":
        return _icmp("icmp", "icmp", rule)
    if rule.protocol in ("tcp", "udp", "sctp", "dccp"):
        ports = _ports(rule)
        return [f"{rule.protocol} dport {ports}"] if ports else [f"meta l4proto {rule.protocol}"]
    return [f"meta l4proto {rule.protocol}"]


def _icmp(name: str, protocol: str, rule: SecurityRule) -> list[str]:
    words = [f"meta l4proto {protocol}"]
    if rule.port_min is not None:
        words.append(f"{name} type {rule.port_min}")
    if rule.port_max is not None:
        words.append(f"{name} code {rule.port_max}")
    return words


def _ports(rule: SecurityRule) -> str:
    if rule.port_min is None:
        return ""
    last = rule.port_max if rule.port_max is not None else rule.port_min
    return str(rule.port_min) if rule.port_min == last else f"{rule.port_min}-{last}"


# --- groups -------------------------------------------------------------------------------------------------------------


def groups_of(vifs: Iterable[Vif]) -> dict[str, tuple[str, ...]]:
    """Members of the groups that rules of these interfaces name."""
    found: dict[str, tuple[str, ...]] = {}
    for vif in vifs:
        found |= {rule.remote_group: vif.group_members.get(rule.remote_group, ()) for rule in vif.rules if rule.remote_group}
    return found


def _group_sets(vifs: Iterable[Vif]) -> Iterator[str]:
    """The sets of members, with the members of now."""
    for group, members in sorted(groups_of(vifs).items()):
        for version, kind in ((4, "ipv4_addr"), (6, "ipv6_addr")):
            name = _set_name(group, version)
            yield f"add set bridge {TABLE} {name} {{ type {kind}; }}"
            yield f"flush set bridge {TABLE} {name}"
            if own := [address for address in members if ipaddress.ip_address(address).version == version]:
                yield f"add element bridge {TABLE} {name} {_set(own)}"


def _set_name(group: str, version: int) -> str:
    return f"group{version}_{group.replace('-', '')}"


# --- zones --------------------------------------------------------------------------------------------------------------


def has_zone(vif: Vif) -> bool:
    """Whether connections of the vif's bridge are tracked by themselves: two VLANs may use the same addresses. A flat
    network's are not, as the host itself may route and translate for it."""
    return vif.segment.kind is not SegmentKind.FLAT


def zone_of(vif: Vif) -> int:
    """A number from 1 to 65535, the same on every host, so that connections can be handed from one to another."""
    if not has_zone(vif):
        return 0
    return zlib.crc32(vif.bridge.encode()) % 65535 + 1  # (its name is the same on every host)


def _zone(vif: Vif, guarding: Guarding) -> str:
    family = "bridge" if guarding.tracking is Tracking.BRIDGE else "inet"
    return f'add element {family} {TABLE} zones {{ "{vif.bridge}" : {zone_of(vif)} }}'


# --- words --------------------------------------------------------------------------------------------------------------


def link_local(mac: str) -> str:
    """The IPv6 address that an interface makes of its MAC (modified EUI-64)."""
    parts = [int(part, 16) for part in mac.split(":")]
    parts[0] ^= 2
    eui = bytes([0xFE, 0x80, 0, 0, 0, 0, 0, 0, *parts[:3], 0xFF, 0xFE, *parts[3:]])
    return str(ipaddress.IPv6Address(eui))


def _addresses(vif: Vif, version: int) -> list[str]:
    every = [address for address in (vif.ip_address, *vif.allowed_addresses) if address]
    return [address for address in every if ipaddress.ip_network(address, strict=False).version == version]


def _set(items: Iterable[str]) -> str:
    return "{ " + ", ".join(dict.fromkeys(items)) + " }"


def _text(lines: Iterable[str]) -> str:
    return "\n".join(lines) + "\n"
