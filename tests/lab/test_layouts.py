"""Disks of any layout on real hosts: whatever they look like, they arrive as they were, and nothing but them is touched."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from labkit import foreign, guest, scenario
from labkit.commands import wait_until
from labkit.foreign import HOME, Disk, Foreign, shell
from labkit.layout import CACHE

HOSTS = ("compute1", "compute2")
OTHER = f"{HOME}-other"
SINGLE = f"{HOME}-single"
BASES = "/var/lib/nova/instances/_base"
LEDGER = "/var/lib/nova-blockmigrate/ledger"
NVRAM = f"{SINGLE}/vars.fd"
CRAWLING_MBIT_S = 40
"""So memory takes long enough to be broken off."""
CREATE = "qemu-img create -q -f qcow2"
TOP_OPTIONS = "cluster_size=128k,lazy_refcounts=on,extended_l2=on,refcount_bits=8"
MAKE = f"""
mkdir -p {HOME} {OTHER}; cd {HOME}
cp --sparse=always "$1" base.qcow2
qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 mid1.qcow2
qemu-img create -q -f qcow2 -o cluster_size=2M -b {HOME}/mid1.qcow2 -F qcow2 mid2.qcow2
qemu-img create -q -f qcow2 -o {TOP_OPTIONS} -b {HOME}/mid2.qcow2 -F qcow2 top.qcow2 1G
qemu-img create -q -f raw {OTHER}/data.raw 512M
qemu-img create -q -f qcow2 -o compat=0.10 {OTHER}/old.qcow2 300M
qemu-io -f qcow2 -c 'write -P 9 10M 40M' {OTHER}/old.qcow2 > {OTHER}/io.log; rm {OTHER}/io.log
qemu-img create -q -f qcow2 -b {HOME}/mid1.qcow2 -F qcow2 {OTHER}/second.qcow2
truncate -s 8M {OTHER}/config.iso; printf 'config-2' | dd of={OTHER}/config.iso bs=1 seek=4M conv=notrunc status=none
truncate -s 1440k {OTHER}/floppy.img
"""
OWN = [f"{HOME}/top.qcow2", *(f"{OTHER}/{name}" for name in ("data.raw", "old.qcow2", "second.qcow2", "floppy.img"))]
SHARED = [*(f"{HOME}/{name}" for name in ("base.qcow2", "mid1.qcow2", "mid2.qcow2")), f"{OTHER}/config.iso"]
DISKS = (
    Disk("vda", OWN[0], more="<boot order='1'/>"),
    Disk("vdb", OWN[1], "raw"),
    Disk("vdc", OWN[2]),
    Disk("vdd", OWN[3]),
    Disk("fda", OWN[4], "raw", "floppy"),
    Disk("hda", f"{OTHER}/config.iso", "raw", "cdrom", "<readonly/>"),
    Disk("hdb", "", "raw", "cdrom", "<readonly/>"),
)


@pytest.fixture(scope="module", autouse=True)
def clean(lab: Any) -> Iterator[None]:
    """Afterwards no server, and no foreign guest or file, is left."""
    yield
    scenario.delete_all(lab, scenario.Client(lab))
    for host in HOSTS:
        shell(
            lab,
            host,
            "for name in $(virsh list --all --name); do virsh destroy $name || true; virsh undefine --nvram $name; done; "
            f"rm -rf {HOME} {OTHER} {SINGLE}",
        )


@pytest.fixture(scope="module")
def laden(lab: Any, clean: None) -> Foreign:
    """An adopted guest with disks of every kind, two of which it writes to. Each test finds it on compute1, and leaves it."""
    made = Foreign(lab, "laden", 77, DISKS)
    lab.run("compute1", ["sh", "-ec", MAKE, "sh", foreign.image_path(lab)])
    made.define("compute1")
    (record,) = foreign.adopt(lab, "compute1", "laden")
    assert (record["result"], record["obstacles"]) == ("adopted", []), record
    made.guest.wait(90)
    made.guest.command("writer2 on")
    return made


def move(lab: Any, client: Any, server_id: str, host: str) -> dict[str, Any]:
    lab.nova("live-migration", "--block-migrate", server_id, host)
    migration: dict[str, Any] = scenario.wait_for_end(client, server_id, 120)
    return migration


def sums(lab: Any, host: str, paths: list[str]) -> list[str]:
    return [line.split()[0] for line in lab.run(host, ["sha256sum", *paths]).stdout.splitlines()]


def chain(lab: Any, host: str, path: str) -> list[dict[str, Any]]:
    """What makes each layer what it is."""
    told = json.loads(lab.run(host, ["qemu-img", "info", "-U", "--backing-chain", "--output=json", path]).stdout)
    return [
        {
            "path": layer["filename"],
            "format": layer["format"],
            "size": layer["virtual-size"],
            "clusters": layer.get("cluster-size"),
            "features": layer.get("format-specific", {}).get("data"),
        }
        for layer in told
    ]


def kept_by_us(lab: Any, host: str) -> list[str]:
    return sorted(lab.run(host, ["find", LEDGER, "-name", "*.jsonl"]).stdout.split())


def test_a_base_in_the_middle_needs_its_name(lab: Any, client: Any, laden: Foreign) -> None:
    namesake = f"{HOME}/mid1.qcow2"
    shell(lab, "compute2", f"mkdir -p {HOME}; echo other > {namesake}")

    migration = move(lab, client, laden.uuid, "compute2")

    assert migration["status"] == "error"
    assert namesake in " ".join(scenario.reasons(client, laden.uuid))
    assert list(foreign.files(lab, "compute2", HOME, OTHER)) == [namesake]
    shell(lab, "compute2", f"rm -r {HOME}")


def test_a_roll_back_leaves_nothing_there_and_everything_here(lab: Any, client: Any, laden: Foreign) -> None:
    laden.guest.write_payload(128)
    before = laden.guest.status()
    at_source = foreign.files(lab, "compute1", HOME, OTHER)
    for host in HOSTS:
        lab.limit_rate(host, 200)
    try:
        lab.nova("live-migration", "--block-migrate", laden.uuid, "compute2")
        wait_until(lambda: copying(client, laden.uuid), 60, "disks are being copied")
        shell(lab, "compute2", "kill -9 $(cat /run/libvirt/qemu/laden.pid)")
        assert scenario.wait_for_end(client, laden.uuid, 60)["status"] == "failed"
    finally:
        for host in HOSTS:
            lab.limit_rate(host, None)

    scenario.wait_for_status(client, laden.uuid, "ACTIVE", 30)
    wait_until(lambda: not kept_by_us(lab, "compute2"), 30, "the destination has no ledger left")
    assert foreign.files(lab, "compute2", HOME, OTHER) == {}
    assert lab.run("compute2", ["ls", "-d", HOME, OTHER], check=False).stdout == ""
    after = foreign.files(lab, "compute1", HOME, OTHER)
    assert {path: what[0] for path, what in after.items()} == {path: what[0] for path, what in at_source.items()}
    laden.guest.wait_for_record(before["record"] + 20)
    assert guest.uptime_went_on(before, laden.guest.status())
    assert laden.guest.verify().is_whole


def copying(client: Any, server_id: str) -> bool:
    seen = client.running_migrations(server_id)
    return bool(seen and seen[0]["status"] == "running" and seen[0]["disk_processed_bytes"])


def test_disks_of_any_layout_arrive_as_they_were_and_move_on(lab: Any, client: Any, laden: Foreign) -> None:
    before = laden.guest.status()
    chains = {path: chain(lab, "compute1", path) for path in OWN}
    shared = sums(lab, "compute1", SHARED)
    at_source = foreign.files(lab, "compute1", HOME, OTHER)

    assert move(lab, client, laden.uuid, "compute2")["status"] == "completed"

    assert client.server(laden.uuid)["status"] == "ACTIVE" and foreign.host_of(client, laden.uuid) == "compute2"
    laden.guest.wait_for_record(before["record"] + 20)
    assert guest.uptime_went_on(before, laden.guest.status())
    assert laden.guest.verify().is_whole
    assert laden.guest.command("verify2")["good"]
    assert {path: chain(lab, "compute2", path) for path in OWN} == chains
    assert sums(lab, "compute2", SHARED) == shared
    at_destination = foreign.files(lab, "compute2", HOME, OTHER)
    assert_sparse(at_source, at_destination)
    left = foreign.files(lab, "compute1", HOME, OTHER)
    assert untouched(left) == untouched({path: what for path, what in at_source.items() if path not in OWN})
    assert kept_by_us(lab, "compute1") == []

    # back: what stayed is used, not brought again; and the host that it leaves is as it was before
    assert move(lab, client, laden.uuid, "compute1")["status"] == "completed"

    back = foreign.files(lab, "compute1", *SHARED)
    assert untouched(back) == untouched({path: at_source[path] for path in SHARED})
    assert foreign.files(lab, "compute2", HOME, OTHER) == {} and kept_by_us(lab, "compute2") == []
    assert laden.guest.wait()["boot_id"] == before["boot_id"]
    assert laden.guest.verify().is_whole
    assert laden.guest.command("verify2")["good"]


def untouched(files: dict[str, tuple[int, int, int]]) -> dict[str, tuple[int, int]]:
    """What stays the same of a file that nobody touches: its inode and size."""
    return {path: (inode, size) for path, (inode, size, _) in files.items()}


def assert_sparse(source: dict[str, tuple[int, int, int]], destination: dict[str, tuple[int, int, int]]) -> None:
    """What each file takes on disk is within 5 %, and a few clusters of metadata and of what was written meanwhile."""
    for path in [*OWN, *SHARED]:
        taken, takes = source[path][2], destination[path][2]
        assert takes <= taken * 1.05 + 2048, f"{path}: {taken} KiB, then {takes} KiB"


def test_a_base_with_the_right_name_and_other_bytes_is_never_used(lab: Any, client: Any) -> None:
    """Where the guest's own disk stands right on it, the right one is placed beside it; else its name is needed."""
    image = foreign.image_path(lab)
    overlay = (
        f"mkdir -p {SINGLE}; cd {SINGLE}; cp {image} base.qcow2; qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 top.qcow2 1G"
    )
    shell(lab, "compute1", overlay)
    namesake = f"mkdir -p {SINGLE}; cd {SINGLE}; {CREATE} base.qcow2 256M"
    shell(lab, "compute2", namesake)
    wrong = foreign.files(lab, "compute2", SINGLE)
    made = Foreign(lab, "simple", 78, (Disk("vda", f"{SINGLE}/top.qcow2"),))
    made.define("compute1")
    foreign.adopt(lab, "compute1", "simple")
    before = made.guest.wait(90)

    assert move(lab, client, made.uuid, "compute2")["status"] == "completed"

    (expected,) = sums(lab, "compute1", [f"{SINGLE}/base.qcow2"])
    base = chain(lab, "compute2", f"{SINGLE}/top.qcow2")[1]["path"]
    assert base == f"{SINGLE}/base.qcow2.{expected[:16]}"
    assert sums(lab, "compute2", [base]) == [expected]
    made.guest.wait_for_record(before["record"] + 20)
    assert made.guest.verify().is_whole

    # and away: the namesake is not ours, and stays
    assert move(lab, client, made.uuid, "compute1")["status"] == "completed"
    assert foreign.files(lab, "compute2", SINGLE) == wrong


@pytest.mark.long
def test_firmware_variables_kernel_and_ramdisk_come_along(lab: Any, client: Any) -> None:
    """A guest with UEFI: what its firmware has written into its variables is at the destination, and no more at the source; of
    none of it anything is left where it could not go."""
    code, template = "/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"
    kernel = next(CACHE.glob("guest/**/vmlinuz"))
    shell(lab, "compute1", f"mkdir -p {SINGLE}; cp {kernel} {SINGLE}/kernel; head -c 3000000 /dev/urandom > {SINGLE}/initrd")
    firmware = f"<loader readonly='yes' type='pflash'>{code}</loader><nvram template='{template}'>{NVRAM}</nvram>"
    boot = f"{firmware}<kernel>{SINGLE}/kernel</kernel><initrd>{SINGLE}/initrd</initrd>"
    made = Foreign(lab, "uefi", 79, (), boot=boot, machine="q35")
    made.define("compute1")
    foreign.adopt(lab, "compute1", "uefi")
    (pristine,) = sums(lab, "compute1", [template])
    wait_until(lambda: sums(lab, "compute1", [NVRAM]) != [pristine], 60, "the firmware has written its variables")
    lab.nova("pause", made.uuid)  # (so that it writes no more)
    scenario.wait_for_status(client, made.uuid, "PAUSED", 30)
    own = (NVRAM, f"{SINGLE}/kernel", f"{SINGLE}/initrd")  # (another guest writes beside them)
    expected = sums(lab, "compute1", list(own))

    at_source, there = untouched(foreign.files(lab, "compute1", *own)), untouched(foreign.files(lab, "compute2", SINGLE))
    lab.limit_rate("compute1", CRAWLING_MBIT_S)
    try:
        lab.nova("live-migration", "--block-migrate", made.uuid, "compute2")
        arrived = lab.root("compute2") / f"run/libvirt/qemu/{made.name}.pid"
        wait_until(arrived.exists, 90, "the destination has everything but memory")
        shell(lab, "compute2", f"kill -9 $(cat /run/libvirt/qemu/{made.name}.pid)")
        assert scenario.wait_for_end(client, made.uuid, 60)["status"] == "failed"
    finally:
        lab.limit_rate("compute1", None)
    scenario.wait_for_status(client, made.uuid, "PAUSED", 30)
    wait_until(lambda: untouched(foreign.files(lab, "compute2", SINGLE)) == there, 30, "nothing of it is left on the destination")
    assert untouched(foreign.files(lab, "compute1", *own)) == at_source

    assert move(lab, client, made.uuid, "compute2")["status"] == "completed"

    assert sums(lab, "compute2", list(own)) == expected
    lab.nova("unpause", made.uuid)
    scenario.wait_for_status(client, made.uuid, "ACTIVE", 30)
    assert NVRAM not in foreign.files(lab, "compute1", SINGLE)
    assert f"{SINGLE}/initrd" in foreign.files(lab, "compute1", SINGLE)


def test_a_server_whose_image_is_gone_moves_with_the_base_of_its_source(lab: Any, client: Any, boot: Callable[..., Any]) -> None:
    """(the last one here: afterwards no server is left)"""
    server = boot(name="orphan")
    image, hidden = foreign.image_path(lab), f"{foreign.image_path(lab)}.gone"
    shell(lab, "compute2", f"rm -f {BASES}/*; mv {image} {hidden}")
    try:
        migration = move(lab, client, server.id, "compute2")
    finally:
        shell(lab, "compute2", f"mv {hidden} {image}")

    assert migration["status"] == "completed"
    here, there = (foreign.files(lab, host, BASES) for host in HOSTS)
    (base,) = there
    assert sums(lab, "compute2", [base]) == sums(lab, "compute1", [base])
    assert there[base][2] <= here[base][2] * 1.05 + 64
    assert server.guest.verify().is_whole
