"""The laboratory's hosts, broken in one place each: contexts that put everything right again at their end."""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Iterator
from typing import Any

from labkit import api, machine, seed, services
from labkit.commands import wait_until

SOURCE, DESTINATION = "compute1", "compute2"
INSTANCES = "/var/lib/nova/instances"
OTHER_UUID = "11111111-2222-4333-8444-555555555555"
RANGE = "49152-49215"


def findings(lab: Any, server: Any, timeout_s: float = 10) -> dict[str, dict[str, Any]]:
    """The report of a dry run, by the check's id."""
    path = f"/blockmigrate/v1/servers/{server.id}/preflight?host={DESTINATION}&block_migration=true"
    (host,) = api.get(lab.layout, path, seed.token_of(lab.layout), timeout_s)["preflight"]["hosts"]
    return {one["check"]: one for one in host["findings"]}


def results(found: dict[str, dict[str, Any]]) -> dict[str, str]:
    """What did not pass."""
    return {check: one["result"] for check, one in found.items() if one["result"] != "passed"}


def told(found: dict[str, dict[str, Any]]) -> str:
    """What did not pass, for people."""
    return json.dumps([one for one in found.values() if one["result"] != "passed"], indent=1)


def restart(lab: Any, host: str, name: str, env: dict[str, str] | None = None) -> None:
    """Start a service of ours anew, until it has said so."""
    log = lab.layout.log_of(lab.machine(host), name)
    lab.stop(host, name)
    begin = log.stat().st_size
    machine.start_daemon(lab.layout, lab.machine(host), name, [services.command(name)], {"PYTHONUNBUFFERED": "1", **(env or {})})
    wait_until(lambda: b"is ready" in log.read_bytes()[begin:], 60, f"{name} of {host} is ready")


@contextlib.contextmanager
def configured(lab: Any, host: str, name: str, options: dict[str, str], env: dict[str, str] | None = None) -> Iterator[None]:
    """A service runs with further options, "section.option"."""
    path = lab.machine(host).folder / "etc/nova-blockmigrate.conf"
    before = path.read_text()
    lines = before
    for option, value in options.items():
        section, _, option = option.rpartition(".")
        lines += "" if f"[{section}]\n" in lines else f"\n[{section}]\n"
        lines = lines.replace(f"[{section}]\n", f"[{section}]\n{option} = {value}\n")
    path.write_text(lines)
    try:
        restart(lab, host, name, env)
        yield
    finally:
        path.write_text(before)
        restart(lab, host, name)


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
        virsh dumpxml --inactive {server.domain}; echo "</domainsnapshot>"; }} > /run/snapshot.xml
      virsh snapshot-create {server.domain} /run/snapshot.xml --redefine"""
    return sh(lab, SOURCE, begin, f"virsh snapshot-delete {server.domain} before-upgrade --metadata")


def block_copy(lab: Any, server: Any) -> Any:
    begin = f"virsh blockcopy {server.domain} vda /var/lib/libvirt/copy.qcow2 --format qcow2 --transient-job --bandwidth 1"
    return sh(lab, SOURCE, begin, f"virsh blockjob {server.domain} vda --abort; rm -f /var/lib/libvirt/copy.qcow2")


def base_missing(lab: Any, server: Any) -> Any:
    shown = json.loads(lab.run(SOURCE, ["qemu-img", "info", "-U", "--output=json", server.disk]).stdout)
    base = shown["full-backing-filename"]
    return sh(lab, SOURCE, f"mv {base} {base}.away", f"mv {base}.away {base}")


def shared_memory(lab: Any, server: Any) -> Any:
    """A device that can be attached to a running guest and not moved: memory shared with the host's processes."""
    device = "<shmem name='nbm-test'><model type='ivshmem-plain'/><size unit='M'>4</size></shmem>"
    attach = f'echo "{device}" > /run/shmem.xml; virsh attach-device {server.domain} /run/shmem.xml --live'
    gone = f"until ! virsh dumpxml {server.domain} | grep -q nbm-test; do sleep 0.1; done"
    return sh(lab, SOURCE, attach, f"virsh detach-device {server.domain} /run/shmem.xml --live; {gone}")


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
    return sh(lab, DESTINATION, f'echo "{xml}" > /run/other.xml; virsh define /run/other.xml', f"virsh undefine {uuid}")


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


TAKE_PORTS = """
import socket, sys, time
taken = []
for port in range(49190, 49216):
    while len(taken) < port - 49189:
        try:
            taken.append(socket.create_server(("", port)))
        except OSError:  # the check before this one listens there for some seconds
            time.sleep(0.05)
print(flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def ports_taken(lab: Any, server: Any) -> Iterator[None]:
    """Another program listens on the upper ports of the range, which are tried."""
    process = lab.popen(DESTINATION, ["python3", "-c", TAKE_PORTS], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with process:
        assert process.stdout.readline() == b"\n"
        try:
            yield
        finally:
            process.stdin.close()


def libvirt_deaf(lab: Any, server: Any) -> Any:
    """libvirt's own port is closed, and the source must not believe what it found a minute ago."""
    lab.restart(SOURCE, "compute")
    return firewall(lab, "tcp dport 16509 reject with tcp reset")


def name_of_the_source(lab: Any, server: Any) -> Any:
    """On the source the destination's name has the source's own address."""
    lab.restart(SOURCE, "compute")
    own = lab.machine(SOURCE).management_ip
    change = f"cp /etc/hosts /run/hosts; sed 's/^.* {DESTINATION}$/{own} {DESTINATION}/' /run/hosts > /etc/hosts"
    return sh(lab, SOURCE, change, "cat /run/hosts > /etc/hosts")


ANOTHER_DISK = f"{INSTANCES}/another"
"""Files of a second disk, on the source only."""


@contextlib.contextmanager
def another_disk(lab: Any, server: Any, make: str, format: str, more: str = "") -> Iterator[None]:
    """The guest has a second disk; `make` creates $TOP and what is below it."""
    disk = (
        f"<disk type='file' device='disk'><driver name='qemu' type='{format}'/><source file='$TOP'>{more}</source>"
        "$BELOW<target dev='vdb' bus='virtio'/></disk>"
    )
    attach = f"""set -e; mkdir {ANOTHER_DISK}; cd {ANOTHER_DISK}; TOP={ANOTHER_DISK}/top; {make}
      echo "{disk}" > disk.xml; virsh attach-device {server.domain} disk.xml --live"""
    remove = f"rm -rf {ANOTHER_DISK}"

    def is_gone() -> bool:
        return "vdb" not in lab.run(SOURCE, ["virsh", "domblklist", server.domain]).stdout

    with sh(lab, SOURCE, attach, remove):
        try:
            yield
        finally:
            lab.run(SOURCE, ["virsh", "detach-disk", server.domain, "vdb", "--live"])
            wait_until(is_gone, 30, "the guest has let its second disk go")


def forgetful(file: str) -> str:
    """As older programs than today's qemu-img have made it: the format of the base is not recorded (its field is made unknown)."""
    edit = f"p = '{file}'; b = open(p, 'rb').read().replace(bytes.fromhex('e2792aca'), b'nbm!'); open(p, 'wb').write(b)"
    return f'python3 -c "{edit}"'
