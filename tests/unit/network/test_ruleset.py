"""What security groups say in nftables' words."""

from __future__ import annotations

import dataclasses

import pytest

from nova_blockmigrate.network import ruleset
from nova_blockmigrate.network.ruleset import Guarding, Tracking
from nova_blockmigrate.objects import AddressPair, SecurityRule, Segment, SegmentKind, Vif

MARKED = Guarding(Tracking.BR_NETFILTER)
TRACKED = Guarding(Tracking.BRIDGE)
GROUP = "8c1d1f2e-0000-4000-8000-000000000001"


def vif(*rules: SecurityRule, **more: object) -> Vif:
    values: dict[str, object] = {"ip_address": "10.0.0.7", "port_security": True, "rules": rules}
    return Vif("port", "fa:16:3e:00:00:07", "br100", "tapport", **(values | more))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        (SecurityRule("ingress"), ["ether type ip"]),
        (SecurityRule("ingress", "IPv6"), ["ether type ip6"]),
        (SecurityRule("ingress", protocol="tcp"), ["ether type ip meta l4proto tcp"]),
        (SecurityRule("ingress", protocol="tcp", port_min=22, port_max=22), ["ether type ip tcp dport 22"]),
        (SecurityRule("ingress", protocol="udp", port_min=1, port_max=99), ["ether type ip udp dport 1-99"]),
        (SecurityRule("ingress", protocol="112"), ["ether type ip meta l4proto 112"]),
        (
            SecurityRule("ingress", protocol="icmp", port_min=8, port_max=0),
            ["ether type ip meta l4proto icmp icmp type 8 icmp code 0"],
        ),
        (SecurityRule("ingress", protocol="6", port_min=22, port_max=22), ["ether type ip tcp dport 22"]),
        (SecurityRule("ingress", protocol="17", port_min=1, port_max=99), ["ether type ip udp dport 1-99"]),
        (SecurityRule("ingress", protocol="TCP", port_max=99), ["ether type ip tcp dport 0-99"]),
        (SecurityRule("ingress", protocol="udplite", port_min=7, port_max=7), ["ether type ip udplite dport 7"]),
        (SecurityRule("ingress", protocol="1", port_min=8), ["ether type ip meta l4proto icmp icmp type 8"]),
        (SecurityRule("ingress", "IPv6", "58", port_min=128), ["ether type ip6 meta l4proto ipv6-icmp icmpv6 type 128"]),
        (SecurityRule("ingress", protocol="pgm"), ["ether type ip meta l4proto 113"]),
        (SecurityRule("ingress", "IPv6", "ipv6-encap"), ["ether type ip6 meta l4proto 41"]),
        (SecurityRule("ingress", protocol="any"), ["ether type ip"]),
        (SecurityRule("ingress", "IPv6", "icmp"), ["ether type ip6 meta l4proto ipv6-icmp"]),
        (SecurityRule("ingress", remote_cidr="10.1.2.3/8"), ["ether type ip ip saddr 10.0.0.0/8"]),
        (SecurityRule("egress", remote_cidr="10.0.0.0/8"), ["ether type ip ip daddr 10.0.0.0/8"]),
        (SecurityRule("ingress", remote_cidr="0.0.0.0/0"), ["ether type ip"]),
        (SecurityRule("ingress", "IPv6", remote_cidr="10.0.0.0/8"), []),
        (SecurityRule("ingress", remote_group="a-b"), ["ether type ip ip saddr @members4_ab"]),
        (SecurityRule("egress", "IPv6", remote_group="a-b"), ["ether type ip6 ip6 daddr @members6_ab"]),
    ],
)
def test_a_rule_as_an_expression(rule: SecurityRule, said: list[str]) -> None:
    assert ruleset.matches(rule) == said


@pytest.mark.parametrize(
    "rule",
    [
        SecurityRule("ingress", protocol="tpc"),
        SecurityRule("ingress", protocol="vrrp", port_min=22, port_max=22),
        SecurityRule("ingress", protocol="icmpv6", port_min=128),
        SecurityRule("ingress", port_min=22, port_max=22),
        SecurityRule("ingress", protocol="tcp", port_min=23, port_max=22),
    ],
)
def test_a_rule_that_says_what_cannot_be_lets_nobody_in(rule: SecurityRule) -> None:
    assert ruleset.matches(rule) == []


def test_what_no_rule_allows_is_dropped_both_ways() -> None:
    assert ruleset.coming(vif(), MARKED)[-1] == "drop"
    assert ruleset.leaving(vif(), MARKED)[-1] == "drop"
    assert not any("l4proto tcp" in line for line in ruleset.coming(vif(), MARKED))


def test_rules_apply_to_their_direction_only() -> None:
    guarded = vif(SecurityRule("egress", protocol="tcp"))
    assert "ether type ip meta l4proto tcp return" in ruleset.leaving(guarded, MARKED)
    assert not any("l4proto tcp" in line for line in ruleset.coming(guarded, MARKED))


def test_addresses_are_checked_before_anything_is_let_out() -> None:
    lines = ruleset.leaving(vif(SecurityRule("egress")), MARKED)
    known = lines.index(f"{MARKED.known} return")
    for check in (
        "ether saddr != fa:16:3e:00:00:07 drop",
        "ether type arp arp saddr ip != { 0.0.0.0, 10.0.0.7 } drop",
        "ip saddr != { 10.0.0.7 } drop",
        "ip6 saddr != { fe80::f816:3eff:fe00:7 } drop",
        "icmpv6 type { nd-router-advert, nd-redirect } drop",
        "ether type ip udp sport 67 drop",
    ):
        assert lines.index(check) < known


def test_a_known_connection_passes_before_the_rules_are_asked() -> None:
    lines = ruleset.coming(vif(SecurityRule("ingress")), MARKED)
    assert lines.index(f"{MARKED.known} accept") < lines.index("ether type ip accept")


def test_the_state_comes_from_the_bridge_where_the_kernel_tracks_there() -> None:
    assert "ct state established,related accept" in ruleset.coming(vif(), TRACKED)
    assert "inet" not in ruleset.base(TRACKED)


def test_a_guests_rules_are_one_transaction_that_ends_with_the_taps() -> None:
    text = ruleset.guard([vif(SecurityRule("ingress", remote_group=GROUP), group_members={GROUP: ("10.0.0.9",)})], MARKED)
    assert text.index("flush chain bridge blockmigrate to_tapport") < text.index('to_guest { "tapport"')
    assert "{ 10.0.0.9 }" in text


def test_another_mac_is_good_for_its_own_addresses_only() -> None:
    router = "00:00:5e:00:01:01"
    guarded = vif(allowed_pairs=(AddressPair(router, "10.0.0.100"),))
    lines = ruleset.leaving(guarded, MARKED)
    assert lines[0] == f"ether saddr != {{ {guarded.mac}, {router} }} drop"
    assert f"ether saddr {router} ip saddr != {{ 10.0.0.100 }} drop" in lines
    assert f"ether saddr {router} ether type arp arp saddr ether != {router} drop" in lines
    assert f"ether saddr {guarded.mac} ip saddr != {{ 10.0.0.7 }} drop" in lines
    assert ruleset.coming(guarded, MARKED)[0].endswith(f"ether daddr != {{ {guarded.mac}, {router} }} drop")


def test_ranges_are_told_as_nft_takes_them_without_overlaps() -> None:
    rule = SecurityRule("ingress", remote_group="a")
    guarded = vif(
        rule, allowed_addresses=("10.0.0.0/24", "0.0.0.0/0"), group_members={"a": ("10.1.0.7", "10.1.0.0/16", "fd00::/64")}
    )
    text = ruleset.guard([guarded], MARKED)
    assert "ether type arp arp saddr ip != { 0.0.0.0/0 } drop" in text
    assert "set bridge blockmigrate members4_a { type ipv4_addr; flags interval; }" in text
    assert "members4_a { 10.1.0.0/16 }" in text
    assert "members6_a { fd00::/64 }" in text


def test_members_that_left_are_out_of_the_set() -> None:
    text = ruleset.guard([vif(SecurityRule("ingress", remote_group=GROUP))], MARKED)
    name = f"members4_{GROUP.replace('-', '')}"
    assert f"flush set bridge blockmigrate {name}" in text
    assert f"add element bridge blockmigrate {name}" not in text


def test_segments_have_zones_of_their_own_the_same_on_every_host() -> None:
    first, second = (
        dataclasses.replace(vif(segment=Segment(SegmentKind.VLAN, number, "physnet1")), bridge=f"brv{number}")
        for number in (100, 101)
    )
    assert 0 < ruleset.zone_of(first) != ruleset.zone_of(second) <= 65535
    assert f'zones {{ "brv100" : {ruleset.zone_of(first)} }}' in ruleset.guard([first], MARKED)


def test_a_flat_network_is_tracked_with_the_host_which_may_route_for_it() -> None:
    assert ruleset.zone_of(vif()) == 0
    assert "zones" not in ruleset.guard([vif()], MARKED)


def test_a_release_adds_first_what_it_takes_so_that_it_may_be_repeated() -> None:
    lines = ruleset.release("tapport").splitlines()
    assert lines.index("add chain bridge blockmigrate to_tapport") < lines.index("delete chain bridge blockmigrate to_tapport")


def test_sets_of_groups_are_found_in_nfts_listing() -> None:
    assert ruleset.group_sets_in(
        "table bridge blockmigrate {\n\tset group4_ab {\n\tset members6_cd {\n\tmap zones {\n\tset other {\n"
    ) == ["group4_ab", "members6_cd"]


def test_zones_are_found_in_nfts_listing() -> None:
    assert ruleset.zones_in('elements = { "brv100" : 4711,\n"brx5" : 0x10 }') == {"brv100": 4711, "brx5": 16}
