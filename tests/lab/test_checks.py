"""Each check that looks at libvirt, a file system or the network, made to fail for real. One guest serves all; nothing moves."""

from __future__ import annotations

import contextlib
import difflib
import json
from collections.abc import Callable
from typing import Any

import pytest
import worlds
from worlds import DESTINATION, INSTANCES, OTHER_UUID, SOURCE, another_disk, findings, forgetful, sh

LEDGER = "/var/lib/nova-blockmigrate"
Broken = Callable[[Any, Any], contextlib.AbstractContextManager[None]]


def state(lab: Any) -> dict[str, str]:
    """What both hosts have: files, domains with all of their XML, links, ledgers. What a service remembers of the hashes of
    files that it has read is no part of that."""
    shown = {}
    for host in (SOURCE, DESTINATION):
        script = (
            f"find {INSTANCES} {LEDGER} -not -path '*/manifests*' -printf '%p %y %i\\n' | sort; "
            "for one in $(virsh list --all --uuid); do virsh domstate $one; virsh dumpxml $one; virsh snapshot-list $one; done; "
            "ls /sys/class/net; ls /etc/libvirt/qemu"
        )
        shown[host] = lab.run(host, ["sh", "-c", script], check=False).stdout
    return shown


def changes(before: dict[str, str], after: dict[str, str]) -> list[str]:
    """Lines that are not the same, marked + and -."""
    lines = [line for host in before for line in difflib.ndiff(before[host].splitlines(), after[host].splitlines())]
    return [line for line in lines if line[0] in "+-"]


WORLDS: list[tuple[str, Broken, str]] = [
    ("snapshots", worlds.snapshot, "before-upgrade"),
    ("jobs", worlds.block_copy, "block copy of vda"),
    ("devices", worlds.shared_memory, "shmem"),
    ("directory", worlds.read_only, "read-only file system"),
    ("disk", worlds.full_disk, "MiB free on compute2"),
    ("not_shared", worlds.shared_storage, "is the same file on compute1 and compute2"),
    ("files", worlds.files_there, "disk"),
    ("names", worlds.name_taken, "another domain named instance-"),
    ("names", worlds.uuid_taken, "a domain with the UUID"),
    ("macs", worlds.mac_taken, "somebody-else"),
    ("networks", worlds.bridge_missing, "br100 does not exist"),
    ("ports", worlds.ports_closed, "no answer within 1 s"),
    ("ports", worlds.ports_taken, "Address already in use"),
    ("uri", worlds.libvirt_deaf, "refused"),
    ("uri", worlds.name_of_the_source, "leads compute1 to itself"),
    ("chain", worlds.base_missing, f"{INSTANCES}/_base/"),  # last: a file that was renamed is hashed anew, and its hash kept
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


QCOW2 = "qemu-img create -q -f qcow2"
FORMATS = [
    ("passed", f"{QCOW2} base 1M; {QCOW2} -b $PWD/base -F qcow2 top", "each file says"),
    ("warning", f"truncate -s 1M base; {QCOW2} -b $PWD/base -F raw top; {forgetful('top')}", "does not say that"),
    (
        "failed",
        f"{QCOW2} lowest 1M; {QCOW2} -b $PWD/lowest -F qcow2 base; {QCOW2} -b $PWD/base -F qcow2 between; {forgetful('between')}; "
        f"{QCOW2} -u -b $PWD/between -F qcow2 top 1M; "
        "BELOW=; for file in lowest base between; do BELOW=\"<backingStore type='file'><format type='qcow2'/>"
        "<source file='$PWD/$file'/>${BELOW:-<backingStore/>}</backingStore>\"; done",
        "does not say that",
    ),
    (
        "failed",
        f"{QCOW2} base 1M; {QCOW2} -b $PWD/base -F qcow2 top; {forgetful('top')}; "
        "BELOW=\"<backingStore type='file'><format type='raw'/><source file='$PWD/base'/><backingStore/></backingStore>\"",
        "as raw, and qemu-img takes it for qcow2",
    ),
]


@pytest.mark.parametrize(
    ("result", "make", "words"), FORMATS, ids=["recorded", "guessed", "libvirt would refuse", "read otherwise"]
)
def test_a_base_whose_format_is_not_recorded_is_told(lab: Any, server: Any, result: str, make: str, words: str) -> None:
    with another_disk(lab, server, make, "qcow2"):
        found = findings(lab, server)

    assert (found["formats"]["result"], words in found["formats"]["found"]) == (result, True), json.dumps(found["formats"])


def test_an_encrypted_disk_needs_its_secret_on_the_destination(lab: Any, server: Any) -> None:
    secret = f"<secret ephemeral='no' private='yes'><uuid>{OTHER_UUID}</uuid></secret>"
    define = f'echo "{secret}" > /run/secret.xml; virsh secret-define /run/secret.xml'
    value = f"virsh secret-set-value {OTHER_UUID} bmJt"
    undefine = f"virsh secret-undefine {OTHER_UUID}"
    make = "qemu-img create -q -f luks --object secret,id=key,data=nbm -o key-secret=key,iter-time=10 top 1M"
    use = f"<encryption format='luks'><secret type='passphrase' uuid='{OTHER_UUID}'/></encryption>"

    with sh(lab, SOURCE, f"{define}; {value}", undefine), another_disk(lab, server, make, "raw", use):
        without = findings(lab, server)["secrets"]
        with sh(lab, DESTINATION, define, undefine):
            there = findings(lab, server)["secrets"]

    assert (without["result"], OTHER_UUID in without["found"]) == ("failed", True), without
    assert there["result"] == "passed", there


def test_qemus_own_blockers_are_told_once_the_domain_is_tainted_anyway(lab: Any, server: Any) -> None:
    """Last: a monitor command marks the domain for good, so a check sends none to a domain without that mark."""
    assert "not asked" in findings(lab, server)["blockers"]["found"]
    assert "monitor" not in lab.run(SOURCE, ["virsh", "dominfo", server.domain]).stdout
    image = {"driver": "file", "filename": "/var/lib/libvirt/blocker.vdi"}
    order = json.dumps({"execute": "blockdev-add", "arguments": {"driver": "vdi", "node-name": "blocker", "file": image}})
    back = json.dumps({"execute": "blockdev-del", "arguments": {"node-name": "blocker"}})
    monitor = f"virsh qemu-monitor-command {server.domain}"
    add, remove = f"qemu-img create -q -f vdi /var/lib/libvirt/blocker.vdi 1M; {monitor} '{order}'", f"{monitor} '{back}'"

    with sh(lab, SOURCE, add, f"{remove}; rm /var/lib/libvirt/blocker.vdi"):
        found = findings(lab, server)["blockers"]

    assert (found["result"], "vdi" in found["found"]) == ("failed", True), found
    assert findings(lab, server)["blockers"]["result"] == "passed"
