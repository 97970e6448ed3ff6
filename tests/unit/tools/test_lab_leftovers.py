"""What counts as left behind in a host's firewall."""

from __future__ import annotations

import json

from labkit.scenario import strays

RULES = """table bridge blockmigrate {
        map from_guest {
                type ifname : verdict
                elements = { "tap1" : jump from_tap1,
                             "tap2" : jump from_tap2 }
        }
        map zones {
                typeof meta ibrname : ct zone
                elements = { "brx5" : 4711, "brv100" : 0x10 }
        }
}
"""


def book(**taps: list[str]) -> str:
    return json.dumps({"boot_id": "1", "bridges": {bridge: {"taps": some, "made": []} for bridge, some in taps.items()}})


def test_rules_and_zones_of_what_is_in_the_book_are_no_leftovers() -> None:
    assert strays(RULES, book(brx5=["tap1"], brv100=["tap2"])) == []


def test_rules_of_other_taps_and_zones_of_bridges_without_taps_are() -> None:
    assert strays(RULES, book(brx5=["tap1"], brv100=[])) == ["rules of tap2", "zone of brv100"]
    assert strays(RULES, "") == ["rules of tap1", "rules of tap2", "zone of brx5", "zone of brv100"]


def test_a_host_without_rules_has_no_leftovers() -> None:
    assert strays("", "") == []
