"""Connections from another host are taken as entries to add, never as other commands."""

from __future__ import annotations

import pytest

from nova_blockmigrate.network import connections

TCP = (
    "-A -t 431999 -u SEEN_REPLY,ASSURED -w 7 -s 10.0.0.1 -d 10.0.0.2 -r 10.0.0.2 -q 10.0.0.1 -p tcp --sport 55648 --dport 9000 "
    "--reply-port-src 9000 --reply-port-dst 55648 --state ESTABLISHED"
)
ICMP = "-A -t 26 -u SEEN_REPLY -s 10.0.0.1 -d 10.0.0.2 -r 10.0.0.2 -q 10.0.0.1 -p icmp --icmp-type 8 --icmp-code 0 --icmp-id 22472"


@pytest.mark.parametrize("line", [TCP, ICMP])
def test_what_conntrack_writes_is_an_entry(line: str) -> None:
    assert connections.is_entry(line)


@pytest.mark.parametrize(
    "line", ["", "-F", "-D -s 10.0.0.1", "-A", "-A -t 1 -F", TCP + "\n-F", TCP + " --mark 7", "-A -t $(reboot)"]
)
def test_anything_else_is_not(line: str) -> None:
    assert not connections.is_entry(line)
