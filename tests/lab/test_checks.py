"""Each check that looks at libvirt, a file system or the network, made to fail for real. One guest serves all; nothing moves."""

from __future__ import annotations

import contextlib
import difflib
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from labkit import api, scenario, seed

SOURCE, DESTINATION = "compute1", "compute2"
INSTANCES = "/var/lib/nova/instances"
LEDGER = "/var/lib/nova-blockmigrate"
OTHER_UUID = "11111111-2222-4333-8444-555555555555"
RANGE = "49152-49215"
Broken = Callable[[Any, Any], contextlib.AbstractContextManager[None]]


@pytest.fixture(scope="module")
def server(lab: Any) -> Iterator[Any]:
    client = scenario.Client(lab)
    yield scenario.boot(lab, client, "checked", SOURCE)
    scenario.delete_all(lab, client)


def findings(lab: Any, server: Any) -> dict[str, dict[str, Any]]:
    """The report of a dry run, by the check's id."""
    path = f"/blockmigrate/v1/servers/{server.id}/preflight?host={DESTINATION}&block_migration=true"
    (host,) = api.get(lab.layout, path, seed.token_of(lab.layout))["preflight"]["hosts"]
    return {one["check"]: one for one in host["findings"]}


def state(lab: Any) -> dict[str, str]:
    """What both hosts have: files, domains with all of their XML, links, ledgers."""
    shown = {}
    for host in (SOURCE, DESTINATION):
        script = (
            f"find {INSTANCES} {LEDGER} -printf '%p %y %i\\n' | sort; "
            "for one in $(virsh list --all --uuid); do virsh domstate $one; virsh dumpxml $one; virsh snapshot-list $one; done; "
            "ls /sys/class/net; ls /etc/libvirt/qemu"
        )
        shown[host] = lab.run(host, ["sh", "-c", script], check=False).stdout
    return shown


def changes(before: dict[str, str], after: dict[str, str]) -> list[str]:
    """Lines that are not the same, marked + and -."""
    lines = [line for host in before for line in difflib.ndiff(before[host].splitlines(), after[host].splitlines())]
    return [line for line in lines if line[0] in "+-"]


# --- the world, broken in one place each ------------------------------------------------------------------------------


@contextlib.contextmanager
def sh(lab: Any, host: str, breaks: str, mends: str) -> Iterator[None]:
    lab.run(host, ["sh", "-c", breaks])
    try:
        yield
    finally:
        lab.run(host, ["sh", "-c", mends])


def snapshot(lab: Any, server: Any) -> Any:
    """Of metadata only, which is what libvirt looks at: the guest's disk stays as it is."""
    begin = f"""
      {{ echo "<domainsnapshot><name>before-upgrade</name><state>running</state><creationTime>1</creationTime>"
        echo "<memory snapshot='internal'/><disks><disk name='vda' snapshot='internal'/></disks>"
        virsh dumpxml --inactive {server.domain}; echo "</domainsnapshot>"; }} > /tmp/snapshot.xml
      virsh snapshot-create {server.domain} /tmp/snapshot.xml --redefine"""
    return sh(lab, SOURCE, begin, f"virsh snapshot-delete {server.domain} before-upgrade --metadata")


def block_copy(lab: Any, server: Any) -> Any:
    begin = f"virsh blockcopy {server.domain} vda /var/tmp/copy.qcow2 --format qcow2 --transient-job --bandwidth 1"
    return sh(lab, SOURCE, begin, f"virsh blockjob {server.domain} vda --abort; rm -f /var/tmp/copy.qcow2")


def base_missing(lab: Any, server: Any) -> Any:
    shown = json.loads(lab.run(SOURCE, ["qemu-img", "info", "-U", "--output=json", server.disk]).stdout)
    base = shown["full-backing-filename"]
    return sh(lab, SOURCE, f"mv {base} {base}.away", f"mv {base}.away {base}")


def shared_memory(lab: Any, server: Any) -> Any:
    """A device that can be attached to a running guest and not moved: memory shared with the host's processes."""
    device = "<shmem name='nbm-test'><model type='ivshmem-plain'/><size unit='M'>4</size></shmem>"
    attach = f'echo "{device}" > /tmp/shmem.xml; virsh attach-device {server.domain} /tmp/shmem.xml --live'
    return sh(lab, SOURCE, attach, f"virsh detach-device {server.domain} /tmp/shmem.xml --live; sleep 1")


def read_only(lab: Any, server: Any) -> Any:
    return sh(lab, DESTINATION, f"mount -o remount,bind,ro {INSTANCES}", f"mount -o remount,bind,rw {INSTANCES}")


def full_disk(lab: Any, server: Any) -> Any:
    """The instances directory on a file system of one MiB."""
    return sh(lab, DESTINATION, f"mount -t tmpfs -o size=1m none {INSTANCES}", f"umount {INSTANCES}")


def shared_storage(lab: Any, server: Any) -> Any:
    """Both hosts see one file system."""
    theirs = lab.machine(SOURCE).folder / "instances"
    return sh(lab, DESTINATION, f"mount --bind {theirs} {INSTANCES}", f"umount {INSTANCES}")


def files_there(lab: Any, server: Any) -> Any:
    return sh(lab, DESTINATION, f"mkdir {server.folder}; echo mine > {server.disk}", f"rm -r {server.folder}")


def define(lab: Any, name: str, uuid: str, more: str = "") -> Any:
    xml = f"<domain type='qemu'><name>{name}</name><uuid>{uuid}</uuid><memory>1024</memory><os><type>hvm</type></os>{more}</domain>"
    return sh(lab, DESTINATION, f'echo "{xml}" > /tmp/other.xml; virsh define /tmp/other.xml', f"virsh undefine {uuid}")


def name_taken(lab: Any, server: Any) -> Any:
    return define(lab, server.domain, OTHER_UUID)


def uuid_taken(lab: Any, server: Any) -> Any:
    return define(lab, "somebody-else", server.id)


def mac_taken(lab: Any, server: Any) -> Any:
    interface = f"<devices><interface type='bridge'><mac address='{server.mac}'/><source bridge='br100'/></interface></devices>"
    return define(lab, "somebody-else", OTHER_UUID, interface)


def bridge_missing(lab: Any, server: Any) -> Any:
    return sh(lab, DESTINATION, "ip link set br100 name br999", "ip link set br999 name br100; ip link set br100 up")


def firewall(lab: Any, rule: str) -> Any:
    chain = "add table inet nbm; add chain inet nbm in { type filter hook input priority 0; }"
    return sh(lab, DESTINATION, f"nft '{chain}; add rule inet nbm in {rule}'", "nft delete table inet nbm")


def ports_closed(lab: Any, server: Any) -> Any:
    return firewall(lab, f"tcp dport {RANGE} drop")


def libvirt_deaf(lab: Any, server: Any) -> Any:
    """libvirt's own port is closed, and the source must not believe what it found a minute ago."""
    lab.restart(SOURCE, "compute")
    return firewall(lab, "tcp dport 16509 reject with tcp reset")


WORLDS: list[tuple[str, Broken, str]] = [
    ("snapshots", snapshot, "before-upgrade"),
    ("jobs", block_copy, "block copy of vda"),
    ("devices", shared_memory, "shmem"),
    ("directory", read_only, "read-only file system"),
    ("disk", full_disk, "MiB free on compute2"),
    ("not_shared", shared_storage, "is the same file on compute1 and compute2"),
    ("files", files_there, "disk"),
    ("names", name_taken, "another domain named instance-"),
    ("names", uuid_taken, "a domain with the UUID"),
    ("macs", mac_taken, "somebody-else"),
    ("networks", bridge_missing, "br100 does not exist"),
    ("ports", ports_closed, "no answer within 1 s"),
    ("uri", libvirt_deaf, "refused"),
    ("chain", base_missing, f"{INSTANCES}/_base/"),  # last: a file that was renamed is hashed anew, and its hash kept
]


# --- what the checks say ----------------------------------------------------------------------------------------------


def test_a_healthy_pair_passes_every_check_and_nothing_changes(lab: Any, server: Any) -> None:
    before = state(lab)

    found = findings(lab, server)

    assert {one["check"]: one["found"] for one in found.values() if one["result"] != "passed"} == {}
    assert changes(before, state(lab)) == []


@pytest.mark.parametrize(("check", "breaks", "words"), WORLDS, ids=[breaks.__name__ for _, breaks, _ in WORLDS])
def test_what_is_broken_is_found_and_left_as_it_is(lab: Any, server: Any, check: str, breaks: Broken, words: str) -> None:
    with breaks(lab, server):
        before = state(lab)
        found = findings(lab, server)
        after = state(lab)

    assert (found[check]["result"], words in found[check]["found"]) == ("failed", True), json.dumps(found[check])
    assert found[check]["remedy"]
    assert changes(before, after) == []


def test_qemus_own_blockers_are_told_once_the_domain_is_tainted_anyway(lab: Any, server: Any) -> None:
    """Last: a monitor command marks the domain for good, so a check sends none to a domain without that mark."""
    assert "not asked" in findings(lab, server)["blockers"]["found"]
    assert "monitor" not in lab.run(SOURCE, ["virsh", "dominfo", server.domain]).stdout
    image = {"driver": "file", "filename": "/var/tmp/blocker.vdi"}
    order = json.dumps({"execute": "blockdev-add", "arguments": {"driver": "vdi", "node-name": "blocker", "file": image}})
    back = json.dumps({"execute": "blockdev-del", "arguments": {"node-name": "blocker"}})
    monitor = f"virsh qemu-monitor-command {server.domain}"
    add, remove = f"qemu-img create -q -f vdi /var/tmp/blocker.vdi 1M; {monitor} '{order}'", f"{monitor} '{back}'"

    with sh(lab, SOURCE, add, f"{remove}; rm /var/tmp/blocker.vdi"):
        found = findings(lab, server)["blockers"]

    assert (found["result"], "vdi" in found["found"]) == ("failed", True), found
    assert findings(lab, server)["blockers"]["result"] == "passed"
