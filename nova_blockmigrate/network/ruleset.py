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
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from nova_blockmigrate.objects import SecurityRule, SegmentKind, Vif

TABLE = "blockmigrate"
_NUMBERS = {
    "icmp": 1, "igmp": 2, "ipip": 4, "tcp": 6, "egp": 8, "udp": 17, "dccp": 33, "ipv6-encap": 41, "ipv6-route": 43,
    "ipv6-frag": 44, "rsvp": 46, "gre": 47, "esp": 50, "ah": 51, "icmpv6": 58, "ipv6-icmp": 58, "ipv6-nonxt": 59, "ipv6-opts": 60,
    "ospf": 89, "vrrp": 112, "pgm": 113, "sctp": 132, "udplite": 136, "hopopt": 0,
}  # fmt: skip
"""Protocols by the names that rules may have: Neutron's. nft does not know all of them."""
_WITH_PORTS = {6: "tcp", 17: "udp", 33: "dccp", 132: "sctp", 136: "udplite"}
_ICMP, _ICMPV6 = 1, 58
_ANY = ("", "any")
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
    return re.findall(r"^\s*set ((?:members|group)[46]_\w+) ", listing, re.MULTILINE)  # (group: of an earlier version)


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
    own = _own(vif)
    rules = [f"ether saddr != {_either(own)} drop"]
    rules += [rule for mac in own for rule in _own_arp(mac, own)]
    rules += ["ether type arp return", "ether type 0x8035 return"]  # RARP: QEMU announces the guest with it when it has moved
    rules += ["ip saddr 0.0.0.0 udp sport 68 udp dport 67 return"]
    rules += [rule for mac in own for rule in _own_ipv4(mac, own)]
    rules += ["ether type ip udp sport 67 drop"]  # it serves no addresses to others
    rules += _own_ipv6(own)
    rules += ["ether type != { ip, ip6 } drop", f"{guarding.known} return"]
    rules += [f"{match} return" for rule in vif.rules if rule.direction == "egress" for match in matches(rule)]
    return [*rules, "drop"]


_Own = Mapping[str, Sequence[str]]
"""Addresses (or ranges) that the guest may send from, by MAC."""


def _own(vif: Vif) -> _Own:
    found: dict[str, list[str]] = {vif.mac: [address for address in (vif.ip_address, *vif.allowed_addresses) if address]}
    for pair in vif.allowed_pairs:
        found.setdefault(pair.mac, []).append(pair.address)
    return found


def _sender(mac: str, own: _Own) -> str:
    """What narrows a rule to one of the guest's MACs; nothing when it has no other."""
    return f"ether saddr {mac} " if len(own) > 1 else ""


def _own_arp(mac: str, own: _Own) -> list[str]:
    sender = _sender(mac, own)
    addresses = _of_version(["0.0.0.0", *own[mac]], 4)  # noqa: S104 - probes for a duplicate come from 0.0.0.0
    return [
        f"{sender}ether type arp arp saddr ether != {mac} drop",
        f"{sender}ether type arp arp saddr ip != {_set(addresses)} drop",
    ]


def _own_ipv4(mac: str, own: _Own) -> list[str]:
    sender, addresses = _sender(mac, own), _of_version(own[mac], 4)
    return [f"{sender}ip saddr != {_set(addresses)} drop" if addresses else f"{sender}ether type ip drop"]


def _own_ipv6(own: _Own) -> list[str]:
    addresses = {mac: [link_local(mac), *_of_version(own[mac], 6)] for mac in own}
    every = list(dict.fromkeys(address for some in addresses.values() for address in some))
    return [
        # it looks whether an address is free, and joins groups, before it has one
        "ip6 saddr :: icmpv6 type { nd-neighbor-solicit, nd-router-solicit, mld2-listener-report } return",
        *(f"{_sender(mac, own)}ip6 saddr != {_set(some)} drop" for mac, some in addresses.items()),
        "ether type ip6 udp sport 547 drop",
        "icmpv6 type { nd-router-advert, nd-redirect } drop",  # nor is it a router
        *_own_advertisements(every),
        "icmpv6 type { nd-router-solicit, nd-neighbor-solicit, nd-neighbor-advert, mld2-listener-report } return",
    ]


def _own_advertisements(addresses: list[str]) -> list[str]:
    """Neighbour advertisements for its own addresses only: the target follows type, code, checksum and flags (64 bits)."""
    if any(ipaddress.ip_network(address, strict=False).prefixlen < 128 for address in addresses):
        return []
    targets = ", ".join(f"{int(ipaddress.IPv6Network(address).network_address):#034x}" for address in addresses)
    return [f"icmpv6 type nd-neighbor-advert @th,64,128 != {{ {targets} }} drop"]


# --- what may come ------------------------------------------------------------------------------------------------------


def coming(vif: Vif, guarding: Guarding) -> list[str]:
    """Rules for frames to the guest: none meant for others, then what is known or allowed."""
    rules = [
        f"ether daddr & 01:00:00:00:00:00 == 00:00:00:00:00:00 ether daddr != {_either(_own(vif))} drop",
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
    """The rule's expression; none when it can match nothing, or says what is not understood: never is more let through than was
    written."""
    remote, protocol = _remote(rule), _protocol(rule)
    if remote is None or protocol is None:
        return []
    family, _ = _ETHERTYPES[rule.ethertype]
    return [" ".join(word for word in (f"ether type {family}", remote, protocol) if word)]


def _remote(rule: SecurityRule) -> str | None:
    """Whom it is about; None: nobody, as the range is one of the other kind of address."""
    family, version = _ETHERTYPES[rule.ethertype]
    side = "saddr" if rule.direction == "ingress" else "daddr"
    if rule.remote_group:
        return f"{family} {side} @{_set_name(rule.remote_group, version)}"
    if not rule.remote_cidr:
        return ""
    network = ipaddress.ip_network(rule.remote_cidr, strict=False)
    if network.version != version:
        return None
    return f"{family} {side} {network}" if network.prefixlen else ""


def _protocol(rule: SecurityRule) -> str | None:
    """What it is about; None: nothing, as the protocol is unknown, or has no such thing as the ports that the rule names."""
    if rule.protocol.lower() in _ANY:
        return "" if _all_ports(rule) else None
    number = _number(rule)
    if number is None:
        return None
    if number == _ICMP and rule.ethertype == "IPv4":
        return _icmp("icmp", "icmp", rule)
    if number == _ICMPV6 and rule.ethertype == "IPv6":
        return _icmp("icmpv6", "ipv6-icmp", rule)
    name = _WITH_PORTS.get(number)
    if not _all_ports(rule):
        ports = _ports(rule)
        return f"{name} dport {ports}" if name and ports else None
    return f"meta l4proto {name or number}"


def _number(rule: SecurityRule) -> int | None:
    """The protocol's number, however it is written; "icmp" means that of the rule's kind of address."""
    protocol = rule.protocol.lower()
    if protocol == "icmp" and rule.ethertype == "IPv6":
        return _ICMPV6
    return int(protocol) if protocol.isdecimal() else _NUMBERS.get(protocol)


def _icmp(name: str, protocol: str, rule: SecurityRule) -> str:
    words = [f"meta l4proto {protocol}"]
    if rule.port_min is not None:
        words.append(f"{name} type {rule.port_min}")
    if rule.port_max is not None:
        words.append(f"{name} code {rule.port_max}")
    return " ".join(words)


def _all_ports(rule: SecurityRule) -> bool:
    return rule.port_min is None and rule.port_max is None


def _ports(rule: SecurityRule) -> str:
    first = rule.port_min if rule.port_min is not None else 0
    last = rule.port_max if rule.port_max is not None else first
    if first > last:
        return ""
    return str(first) if first == last else f"{first}-{last}"


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
            yield f"add set bridge {TABLE} {name} {{ type {kind}; flags interval; }}"
            yield f"flush set bridge {TABLE} {name}"
            if own := _of_version(members, version):
                yield f"add element bridge {TABLE} {name} {_set(own)}"


def _set_name(group: str, version: int) -> str:
    return f"members{version}_{group.replace('-', '')}"


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


def zones_in(listing: str) -> dict[str, int]:
    """Zones by bridge, from nft's listing of our map."""
    return {bridge: int(zone, 0) for bridge, zone in re.findall(r'"([^"]+)" : (\w+)', listing)}


def forget_zone(family: str, bridge: str, zone: int) -> str:
    """The transaction that ends the zone of a bridge."""
    return _text([f'delete element {family} {TABLE} zones {{ "{bridge}" : {zone} }}'])


# --- words --------------------------------------------------------------------------------------------------------------


def link_local(mac: str) -> str:
    """The IPv6 address that an interface makes of its MAC (modified EUI-64)."""
    parts = [int(part, 16) for part in mac.split(":")]
    parts[0] ^= 2
    eui = bytes([0xFE, 0x80, 0, 0, 0, 0, 0, 0, *parts[:3], 0xFF, 0xFE, *parts[3:]])
    return str(ipaddress.IPv6Address(eui))


def _of_version(addresses: Iterable[str], version: int) -> list[str]:
    """Those of one kind, no two of which overlap: nft refuses such."""
    networks = [ipaddress.ip_network(address, strict=False) for address in addresses]
    merged: list[ipaddress.IPv4Network] | list[ipaddress.IPv6Network]
    if version == 4:
        merged = list(ipaddress.collapse_addresses(one for one in networks if isinstance(one, ipaddress.IPv4Network)))
    else:
        merged = list(ipaddress.collapse_addresses(one for one in networks if isinstance(one, ipaddress.IPv6Network)))
    return [str(one.network_address if one.prefixlen == one.max_prefixlen else one) for one in merged]


def _set(items: Iterable[str]) -> str:
    return "{ " + ", ".join(dict.fromkeys(items)) + " }"


def _either(items: Collection[str]) -> str:
    return _set(items) if len(items) > 1 else next(iter(items))


def _text(lines: Iterable[str]) -> str:
    return "\n".join(lines) + "\n"
