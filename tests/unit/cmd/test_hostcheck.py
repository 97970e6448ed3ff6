"""Each check of a host, as a table: what passes, what fails, and with which remedy."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from nova_blockmigrate.cmd.hostcheck import layouts, probing
from nova_blockmigrate.cmd.hostcheck.judging import CHECKS, HostFacts, Peer, Reach, judge
from nova_blockmigrate.objects import CheckResult, Finding
from nova_blockmigrate.virt.libvirt import daemon_conf

PORTS = ((49152, Reach.REFUSED), (49215, Reach.OPEN))
PEER = Peer("compute2", ("192.0.2.2",), Reach.OPEN, PORTS, "qemu+tcp://compute2/system", host_uuid="b")
HEALTHY = HostFacts(
    host="compute1",
    layout=layouts.DEBIAN,
    daemon=layouts.LIBVIRTD,
    transport="tcp",
    port=16509,
    control=Reach.OPEN,
    settings=(("listen_tcp", "1"), ("auth_tcp", "none")),
    addresses=("192.0.2.1",),
    own_addresses=("127.0.0.1", "192.0.2.1"),
    host_uuid="a",
    instances_path="/var/lib/nova/instances",
    free_bytes=2**33,
    qemu_img="7.2.0",
    emulator="/usr/bin/qemu-system-x86_64",
    emulator_usable=True,
    clock_synchronised=True,
    peer=PEER,
)


def finding(check: str, **changes: Any) -> Finding:
    return next(one for one in judge(dataclasses.replace(HEALTHY, **changes)) if one.check == check)


def peer(**changes: Any) -> Peer:
    return dataclasses.replace(PEER, **changes)


def test_a_healthy_host_passes_every_check() -> None:
    findings = judge(HEALTHY)
    assert [one.check for one in findings] == [id for id, _, _ in CHECKS]
    assert {one.result for one in findings} == {CheckResult.PASSED}


@pytest.mark.parametrize(
    "check, changes, remedy",
    [
        ("libvirt", {"libvirt_error": "unable to connect"}, "apt-get install libvirt-daemon-system"),
        ("libvirt", {"libvirt_error": "unable to connect", "layout": layouts.RHEL}, "dnf install libvirt-daemon-kvm"),
        ("options", {"options_error": "VIR_MIGRATE_TUNNELLED and …"}, "nova-blockmigrate.conf"),
        ("listening", {"control": Reach.REFUSED}, "libvirtd-tcp.socket"),
        ("listening", {"control": Reach.REFUSED, "transport": "tls"}, "libvirtd-tls.socket"),
        ("listening", {"control": Reach.REFUSED, "daemon": layouts.VIRTPROXYD}, "virtproxyd-tcp.socket"),
        ("listening", {"control": Reach.SILENT, "settings": None}, "libvirtd-tcp.socket"),
        ("listening", {"control": Reach.REFUSED, "transport": "ssh", "port": 22}, "enable --now ssh"),
        ("authentication", {"settings": (("auth_tcp", "sasl"),)}, 'auth_tcp = "none"'),
        ("authentication", {"settings": ()}, "libvirtd.service"),
        ("own_name", {"addresses": ()}, "/etc/hosts"),
        ("own_name", {"addresses": ("127.0.1.1",)}, "127.0.1.1"),
        ("own_name", {"addresses": ("192.0.2.77",)}, "[DEFAULT] host"),
        ("peer_name", {"peer": peer(addresses=())}, "add compute2"),
        ("peer_name", {"peer": peer(addresses=("127.0.1.1",))}, "correct DNS"),
        ("peer_name", {"peer": peer(addresses=("192.0.2.1",))}, "correct DNS"),
        ("peer_control", {"peer": peer(control=Reach.REFUSED)}, "libvirtd-tcp.socket"),
        ("peer_control", {"peer": peer(control=Reach.SILENT)}, "ufw allow 16509/tcp"),
        ("peer_control", {"peer": peer(control=Reach.SILENT), "layout": layouts.RHEL}, "--add-port=16509/tcp"),
        ("peer_ports", {"peer": peer(ports=((49152, Reach.SILENT),))}, "ufw allow 49152:49215/tcp"),
        ("peer_ports", {"peer": peer(ports=((49152, Reach.SILENT),)), "layout": layouts.RHEL}, "--add-port=49152-49215/tcp"),
        ("migration_uri", {"peer": peer(uri_error="refused")}, "compute2"),
        ("migration_uri", {"peer": peer(host_uuid="a")}, "host_uuid"),
        ("instances", {"instances_error": "read-only file system"}, "mkdir"),
        ("instances", {"free_bytes": 2**20, "reserved_bytes": 2**30}, "reserved_host_disk_mb"),
        ("qemu", {"qemu_img": ""}, "qemu-utils"),
        ("networks", {"firewall_missing": ("conntrack",)}, "conntrack"),
        ("qemu", {"emulator_usable": False, "layout": layouts.RHEL}, "qemu-kvm"),
    ],
)
def test_what_is_wrong_is_said_with_the_remedy(check: str, changes: dict[str, Any], remedy: str) -> None:
    found = finding(check, **changes)
    assert found.result is CheckResult.FAILED and found.found
    assert remedy in found.remedy


@pytest.mark.parametrize(
    "check, changes, result",
    [
        ("clock", {"clock_synchronised": None}, CheckResult.UNKNOWN),
        ("clock", {"clock_synchronised": False}, CheckResult.WARNING),
        ("peer_name", {"peer": None}, CheckResult.UNKNOWN),
        ("peer_control", {"peer": None}, CheckResult.UNKNOWN),
        ("peer_ports", {"peer": None}, CheckResult.UNKNOWN),
        ("migration_uri", {"peer": None}, CheckResult.UNKNOWN),
        ("migration_uri", {"host_uuid": ""}, CheckResult.UNKNOWN),
        ("authentication", {"settings": None}, CheckResult.UNKNOWN),
        ("authentication", {"transport": "ssh", "settings": ()}, CheckResult.PASSED),
        ("authentication", {"transport": "tls", "settings": ()}, CheckResult.PASSED),
        ("qemu", {"libvirt_error": "x", "emulator": ""}, CheckResult.UNKNOWN),
    ],
)
def test_what_cannot_be_told_fails_nothing(check: str, changes: dict[str, Any], result: CheckResult) -> None:
    assert finding(check, **changes).result is result


@pytest.mark.parametrize(
    "text, layout",
    [
        ("ID=debian\n", layouts.DEBIAN),
        ("ID=ubuntu\nID_LIKE=debian\n", layouts.DEBIAN),
        ('ID="rocky"\nID_LIKE="rhel centos fedora"\n', layouts.RHEL),
        ("ID=fedora\n", layouts.RHEL),
        ("", layouts.DEBIAN),
    ],
)
def test_layout_is_chosen_by_os_release(text: str, layout: layouts.Layout) -> None:
    assert layouts.choose(text) is layout


@pytest.mark.parametrize(
    "uri, transport, port",
    [
        ("qemu+tcp://%s/system", "tcp", 16509),
        ("qemu+tls://%s/system", "tls", 16514),
        ("qemu+ssh://root@%s/system", "ssh", 22),
        ("qemu+tcp://%s:17000/system", "tcp", 17000),
        ("qemu:///system", "unix", 0),
    ],
)
def test_transport_and_port_come_from_the_uri(uri: str, transport: str, port: int) -> None:
    assert probing.transport_of(uri) == (transport, port)


def test_settings_of_libvirt_are_read_without_comments() -> None:
    text = '#auth_tcp = "sasl"\nlisten_tcp = 1\n  auth_tcp = "none"  # closed network\ntls_port="16514"\nbroken\n'
    assert daemon_conf.parse(text) == {"listen_tcp": "1", "auth_tcp": "none", "tls_port": "16514"}


def test_a_port_without_a_listener_is_refused_and_one_with_is_open() -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert probing.reach("127.0.0.1", port) is Reach.OPEN
    assert probing.reach("127.0.0.1", port) is Reach.REFUSED
