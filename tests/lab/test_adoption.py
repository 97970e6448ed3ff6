"""Adoption on real hosts: guests that an administrator made with virsh become servers, move, and may be released again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from labkit import fabric, foreign, scenario
from labkit import guest as guests
from labkit.commands import wait_until
from labkit.foreign import HOME, Disk, Foreign, shell
from tests.lab.copying import PAYLOAD_MIB, slow_down, speed_up

HOSTS = ("compute1", "compute2")
LEDGERS = "/var/lib/nova-blockmigrate/ledger"
OVERLAY = f"{HOME}/own.qcow2"
INTERFACES = {
    "libvirt network": "<interface type='network'>{mac}<source network='lan'/>{model}</interface>",
    "macvtap": "<interface type='direct'>{mac}<source dev='br100' mode='bridge'/>{model}</interface>",
}


@pytest.fixture(autouse=True)
def clean(lab: Any, client: Any) -> Iterator[None]:
    yield
    scenario.delete_all(lab, client)
    for host in HOSTS:
        shell(
            lab,
            host,
            "for name in $(virsh list --all --name); do virsh destroy $name || true; "
            f"virsh undefine --nvram --snapshots-metadata $name || true; done; rm -rf {HOME}",
        )


@pytest.fixture
def guest(lab: Any) -> Foreign:
    """A guest that runs on compute1: its own overlay on a base that others may use, and a CD-ROM."""
    shell(
        lab,
        "compute1",
        f"mkdir -p {HOME}; cd {HOME}; cp {foreign.image_path(lab)} base.qcow2; echo medium > cd.iso; truncate -s 1M cd.iso; "
        f"qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 {OVERLAY} 1G",
    )
    made = Foreign(lab, "by-hand", 91, (Disk("vda", OVERLAY), Disk("hda", f"{HOME}/cd.iso", "raw", "cdrom", "<readonly/>")))
    made.define("compute1")
    return made


def idle(lab: Any, name: str, number: int, **options: Any) -> Foreign:
    """A guest with an empty disk of its own, defined and not started."""
    shell(lab, "compute1", f"mkdir -p {HOME}; qemu-img create -q -f qcow2 {HOME}/{name}.qcow2 64M")
    made = Foreign(lab, name, number, (Disk("vda", f"{HOME}/{name}.qcow2"),), **options)
    made.define("compute1", start=False)
    return made


def everything(lab: Any, host: str = "compute1") -> dict[str, Any]:
    """What the host has of guests, and their definitions."""
    names = lab.run(host, ["virsh", "list", "--all", "--name"]).stdout.split()
    return {
        "files": {path: inode for path, (inode, _, _) in foreign.files(lab, host, HOME).items()},
        "domains": {name: lab.run(host, ["virsh", "dumpxml", "--inactive", name]).stdout for name in names},
        "states": lab.run(host, ["virsh", "list", "--all"]).stdout,
        "devices": sorted(link["ifname"] for link in json.loads(lab.run(host, ["ip", "-j", "link"]).stdout)),
    }


def ledger_of(lab: Any, host: str, uuid: str) -> str:
    return lab.run(host, ["sh", "-c", f"cat {LEDGERS}/*/servers/{uuid}.jsonl"], check=False).stdout


def test_a_guest_becomes_a_server_moves_and_is_released(lab: Any, client: Any, guest: Foreign) -> None:
    guest.guest.wait(90)
    lab.run("compute1", ["virsh", "autostart", guest.name])
    before = everything(lab)

    (would,) = foreign.adopt(lab, "compute1", guest.name, "--dry-run")
    assert (would["result"], would["obstacles"]) == ("can be adopted", [])
    assert client.request("GET", "/servers?all_tenants=1")["servers"] == []
    (done,) = foreign.adopt(lab, "compute1", guest.uuid, "--project", "admin")
    assert done["result"] == "adopted" and "br100" in done["interfaces"][0]
    assert foreign.adopt(lab, "compute1", guest.name)[0]["result"] == "is a server already"
    assert foreign.adopt(lab, "compute1", "--all") == []

    shown = client.server(guest.uuid)
    assert (shown["name"], shown["status"]) == (guest.name, "ACTIVE")
    assert shown["OS-EXT-SRV-ATTR:instance_name"] == guest.name and foreign.host_of(client, guest.uuid) == "compute1"
    assert everything(lab) == before
    assert OVERLAY in ledger_of(lab, "compute1", guest.uuid) and "base.qcow2" not in ledger_of(lab, "compute1", guest.uuid)

    boot_id = guest.guest.status()["boot_id"]
    lab.nova("live-migration", "--block-migrate", guest.name, "compute2")
    assert scenario.wait_for_end(client, guest.uuid, 120)["status"] == "completed"
    assert guest.guest.wait()["boot_id"] == boot_id and guest.guest.verify().is_whole
    assert OVERLAY not in foreign.files(lab, "compute1", HOME)
    assert guest.name in lab.run("compute2", ["virsh", "list", "--all", "--autostart", "--name"]).stdout

    before = everything(lab, "compute2")
    lab.run("controller", ["nova-blockmigrate-manage", "release", guest.name])
    assert everything(lab, "compute2") == before
    assert client.request("GET", "/servers?all_tenants=1")["servers"] == []
    assert ledger_of(lab, "compute2", guest.uuid) == ""
    assert guest.guest.status()["boot_id"] == boot_id
    assert OVERLAY in foreign.files(lab, "compute2", HOME)

    # once more, where it is now; and deleted, it takes with it what is its own and nothing else
    foreign.adopt(lab, "compute2", guest.name)
    lab.nova("delete", guest.uuid)
    wait_until(lambda: not client.request("GET", "/servers?all_tenants=1")["servers"], 60, "the server is gone")
    assert guest.name not in lab.run("compute2", ["virsh", "list", "--all", "--name"]).stdout
    left = foreign.files(lab, "compute2", HOME)
    assert OVERLAY not in left and {f"{HOME}/base.qcow2", f"{HOME}/cd.iso"} <= set(left)
    assert ledger_of(lab, "compute2", guest.uuid) == ""


@pytest.fixture
def lan(lab: Any) -> Iterator[None]:
    """A libvirt network that is a bridge of the hosts. And no two hosts number their devices alike: they share one /dev here, where
    macvtap devices (tap7) are named by that number."""
    network = "<network><name>lan</name><forward mode='bridge'/><bridge name='br100'/></network>"
    for host in HOSTS:
        shell(lab, host, "cat > /run/lan.xml; virsh net-define /run/lan.xml; virsh net-start lan", input=network)
    shell(lab, "compute2", "for each in $(seq 40); do ip link add shift type bridge; ip link del shift; done")
    yield
    for host in HOSTS:
        shell(lab, host, "virsh net-destroy lan; virsh net-undefine lan")


def macvtaps(lab: Any, host: str) -> str:
    return str(lab.run(host, ["ip", "-brief", "link", "show", "type", "macvtap"]).stdout)


def copying(client: Any, server_id: str) -> bool:
    seen = client.running_migrations(server_id)
    return bool(seen and seen[0]["status"] == "running" and seen[0]["disk_processed_bytes"])


@pytest.mark.usefixtures("lan")
@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=pytest.mark.long) if kind == "libvirt network" else kind for kind in INTERFACES]
)
def test_a_guest_moves_whatever_it_is_connected_by_and_a_roll_back_harms_nothing(lab: Any, client: Any, kind: str) -> None:
    make = f"mkdir -p {HOME}; qemu-img create -q -f qcow2 -b {foreign.image_path(lab)} -F qcow2 {OVERLAY} 1G"
    shell(lab, "compute1", make)
    made = Foreign(lab, "wired", 98, (Disk("vda", OVERLAY),), interface=INTERFACES[kind])
    made.define("compute1")
    made.guest.wait(90)
    (record,) = foreign.adopt(lab, "compute1", made.name)
    assert (record["result"], record["obstacles"]) == ("adopted", []), record
    made.guest.write_payload(PAYLOAD_MIB)
    before, inodes = made.guest.status(), foreign.files(lab, "compute1", HOME)

    slow_down(lab)
    try:
        lab.nova("live-migration", "--block-migrate", made.uuid, "compute2")
        wait_until(lambda: copying(client, made.uuid), 60, "disks are being copied")
        shell(lab, "compute2", f"kill -9 $(cat /run/libvirt/qemu/{made.name}.pid)")
        assert scenario.wait_for_end(client, made.uuid, 60)["status"] == "failed"
    finally:
        speed_up(lab)
    scenario.wait_for_status(client, made.uuid, "ACTIVE", 30)
    assert guests.uptime_went_on(before, made.guest.wait())
    assert made.guest.verify().is_whole
    assert made.name not in lab.run("compute2", ["virsh", "list", "--all", "--name"]).stdout
    assert foreign.files(lab, "compute2", HOME) == {} and macvtaps(lab, "compute2") == ""
    assert ledger_of(lab, "compute2", made.uuid) == ""
    assert {path: what[0] for path, what in foreign.files(lab, "compute1", HOME).items()} == {
        path: what[0] for path, what in inodes.items()
    }

    lab.nova("live-migration", "--block-migrate", made.uuid, "compute2")
    ended = scenario.wait_for_end(client, made.uuid, 120)
    assert ended["status"] == "completed", scenario.reasons(client, made.uuid)
    assert guests.uptime_went_on(before, made.guest.wait())
    assert made.guest.verify().is_whole
    assert fabric.tenant_port_of(lab.layout, made.mac) == "t2", "the fabric knows the new place"
    assert made.name not in lab.run("compute1", ["virsh", "list", "--all", "--name"]).stdout
    assert OVERLAY not in foreign.files(lab, "compute1", HOME) and macvtaps(lab, "compute1") == ""


def test_what_cannot_be_adopted_or_moved_is_named_with_the_reason(lab: Any, client: Any) -> None:
    stopped = idle(lab, "stopped", 92)
    snapshot = idle(lab, "with-snapshot", 93)
    shell(lab, "compute1", f"virsh snapshot-create-as {snapshot.name} before --diskspec vda,snapshot=internal")
    shared = "<filesystem type='mount'><source dir='/srv'/><target dir='share'/></filesystem>"
    idle(lab, "with-share", 94, devices=shared)
    transient = Foreign(lab, "transient", 95, ())
    shell(lab, "compute1", "cat > /run/t.xml; virsh create /run/t.xml", input=transient.xml)

    found = {one["name"]: one for one in foreign.adopt(lab, "compute1", "--all", check=False)}

    assert {name: one["result"] for name, one in found.items()} == {
        "stopped": "adopted",
        "with-snapshot": "adopted",
        "with-share": "adopted",
        "transient": "refused",
    }
    assert "transient" in found["transient"]["reason"]
    assert "before" in " ".join(found["with-snapshot"]["obstacles"])
    assert "share" in " ".join(found["with-share"]["obstacles"])
    assert found["stopped"]["obstacles"] == []
    assert client.server(stopped.uuid)["status"] == "SHUTOFF"
    lab.nova("start", stopped.name)
    scenario.wait_for_status(client, stopped.uuid, "ACTIVE", 60)
    lab.nova("stop", stopped.name)
    wait_until(lambda: client.server(stopped.uuid)["OS-EXT-STS:task_state"] is not None, 10, "it is being stopped")
    shell(lab, "compute1", f"virsh destroy {stopped.name}")  # (it has no system that would hear the power button)
    scenario.wait_for_status(client, stopped.uuid, "SHUTOFF", 60)


def test_domains_and_hosts_that_do_not_exist_are_said(lab: Any) -> None:
    for words, said in ((("compute1", "nobody"), "nobody"), (("compute9", "--all"), "compute9"), (("compute1",), "--all")):
        done = lab.run("controller", ["nova-blockmigrate-manage", "adopt", *words], check=False)
        assert done.returncode == 1 and said in done.stderr, done.stderr


def test_a_file_that_another_guest_uses_stays_when_the_server_is_deleted(lab: Any, client: Any) -> None:
    first = idle(lab, "first", 96)
    second = Foreign(lab, "second", 97, first.disks)
    second.define("compute1", start=False)
    foreign.adopt(lab, "compute1", "first")

    lab.nova("delete", first.uuid)
    wait_until(lambda: not client.request("GET", "/servers?all_tenants=1")["servers"], 60, "the server is gone")

    assert f"{HOME}/first.qcow2" in foreign.files(lab, "compute1", HOME)
    assert lab.run("compute1", ["virsh", "list", "--all", "--name"]).stdout.split() == ["second"]


def test_a_guest_shows_the_address_that_its_host_knows(lab: Any, client: Any, guest: Foreign) -> None:
    guest.guest.wait(90)
    own = f"{lab.layout.tenant_prefix}.251/24"
    lab.run("compute1", ["ip", "address", "add", own, "dev", "br100"])
    try:
        lab.run("compute1", ["busybox", "ping", "-c", "1", "-W", "30", guest.address])
        foreign.adopt(lab, "compute1", guest.name)
    finally:
        lab.run("compute1", ["ip", "address", "del", own, "dev", "br100"])

    ((address,),) = client.server(guest.uuid)["addresses"].values()
    assert (address["addr"], address["version"]) == (guest.address, 4)
    assert address["OS-EXT-IPS-MAC:mac_addr"] in lab.run("compute1", ["virsh", "dumpxml", guest.name]).stdout.lower()
