"""A guest with a local disk and an iSCSI volume: it writes to both while it moves, and tgtd lets in whom it should, nobody else."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from labkit import foreign, guest, scenario, seed, tgt
from labkit.commands import wait_until
from labkit.scenario import HOST
from tests.lab.copying import begin, speed_up

PAYLOAD_MIB = 192
CRAWLING_MBIT_S = 20


def initiator(host: str) -> str:
    return f"iqn.2008-11.org.linux-kvm:{host}"


def only(*hosts: str) -> tgt.Served:
    """What tgtd says when exactly these hosts may use a volume, and do."""
    names = tuple(sorted(map(initiator, hosts)))
    return tgt.Served(names, names)


@pytest.fixture
def volume(lab: Any) -> Iterator[str]:
    """An empty volume of 1 GiB; its deletion shows that nobody has a right to it any more."""
    made = seed.manage(lab.layout, "volume", "create", "--name", "data", "--size-gib", "1")
    yield made
    scenario.delete_all(lab, scenario.Client(lab))
    seed.manage(lab.layout, "volume", "delete", made)


@pytest.fixture
def server(lab: Any, client: Any, volume: str, boot: Callable[..., Any]) -> Any:
    """A server on compute1 that writes to its own disk and to the volume."""
    booted = boot()
    scenario.attach_volume(lab, client, booted, volume)
    return booted


class Watch:
    """Everything that tgtd said of a volume meanwhile, each once, in order."""

    def __init__(self, lab: Any, volume: str) -> None:
        self.seen: list[tgt.Served] = []
        self._lab, self._volume = lab, volume
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    @property
    def allowed(self) -> list[tuple[str, ...]]:
        """Who was let in, one after the other."""
        names = [served.allowed for served in self.seen]
        return [each for number, each in enumerate(names) if number == 0 or each != names[number - 1]]

    def _watch(self) -> None:
        while not self._over.is_set():
            served = tgt.served(self._lab.layout, self._volume)
            if not self.seen or self.seen[-1] != served:
                self.seen.append(served)


def assert_whole(server: Any) -> None:
    """No record is missing on either disk, and both are written to."""
    now = server.guest.wait()
    server.guest.wait_for_record(now["record"] + 20)
    server.guest.wait_for_record(now["record2"] + 20, volume=True)
    assert server.guest.verify().is_whole
    assert server.guest.verify(volume=True).is_whole


def test_a_guest_writes_to_its_disk_and_its_volume_while_it_moves(lab: Any, client: Any, server: Any, volume: str) -> None:
    before = server.guest.status()
    assert tgt.served(lab.layout, volume) == only("compute1")

    with Watch(lab, volume) as watch:
        lab.nova("live-migration", "--block-migrate", server.name, "compute2")
        migration = scenario.wait_for_end(client, server.id, 120)

    assert (migration["status"], client.server(server.id)[HOST]) == ("completed", "compute2")
    one, two = initiator("compute1"), initiator("compute2")
    assert watch.allowed == [(one,), (one, two), (two,)]
    assert {name for served in watch.seen for name in served.logged_in} == {one, two}
    assert tgt.served(lab.layout, volume) == only("compute2")
    assert guest.uptime_went_on(before, server.guest.status())
    assert_whole(server)
    copied = lab.run("compute2", ["find", server.folder, "-type", "f"]).stdout.split()
    assert sorted(copied) == [f"{server.folder}/console.log", server.disk], "the volume was not copied"

    last = server.guest.status()["record2"]
    lab.nova("reboot", "--hard", server.name)  # what the destination has defined is what it starts
    scenario.wait_for_status(client, server.id, "ACTIVE", 60)
    server.guest.wait()
    server.guest.write_to_volume()
    assert server.guest.status()["record2"] >= last
    assert tgt.served(lab.layout, volume) == only("compute2")

    lab.nova("volume-detach", server.name, volume)
    wait_until(lambda: tgt.served(lab.layout, volume) == tgt.Served(), 60, "tgtd serves the volume no more")
    scenario.wait_for_status(client, server.id, "ACTIVE", 30)
    assert client.request("GET", f"/servers/{server.id}/os-volume_attachments") == {"volumeAttachments": []}
    assert "vdb" not in lab.run("compute2", ["virsh", "domblklist", server.domain]).stdout
    assert "vdb" not in lab.run("compute2", ["virsh", "dumpxml", "--inactive", server.domain]).stdout


@pytest.mark.usefixtures("slow")
def test_a_roll_back_leaves_the_destination_without_a_right(lab: Any, client: Any, server: Any, volume: str) -> None:
    server.guest.write_payload(PAYLOAD_MIB)
    before = server.guest.status()

    begin(lab, client, server, "compute2")
    assert tgt.served(lab.layout, volume) == only("compute1", "compute2")
    lab.run("compute2", ["sh", "-c", f"kill -9 $(cat /run/libvirt/qemu/{server.domain}.pid)"])
    migration = scenario.wait_for_end(client, server.id, 60)

    assert migration["status"] == "failed"
    assert tgt.served(lab.layout, volume) == only("compute1")
    scenario.wait_for_status(client, server.id, "ACTIVE", 30)
    assert client.server(server.id)[HOST] == "compute1"
    assert guest.uptime_went_on(before, server.guest.status())
    assert_whole(server)
    assert scenario.leftovers(lab, "compute2", server) == []


def test_only_an_initiator_that_has_a_right_gets_in(lab: Any, server: Any, volume: str) -> None:
    target = f"portal={lab.layout.controller.management_ip}:3260,target=iqn.2026-11.org.nova-blockmigrate:volume-{volume}"
    image = f"driver=iscsi,transport=tcp,{target},lun=1,initiator-name={initiator('compute2')}"

    tried = lab.run("compute2", ["qemu-img", "info", "--image-opts", image], check=False, timeout_s=30)

    assert tried.returncode != 0
    assert "Failed to log in to target" in tried.stderr


def test_a_target_daemon_that_was_restarted_serves_again_and_no_record_is_lost(lab: Any, server: Any, volume: str) -> None:
    lab.kill("controller", tgt.DAEMON, signal.SIGKILL)
    lab.start("controller", tgt.DAEMON)
    wait_until(lambda: tgt.answers(lab.layout), 60, "tgtd answers")

    wait_until(lambda: tgt.served(lab.layout, volume) == only("compute1"), 60, "tgtd serves the volume again, to the same host")
    assert_whole(server)


def secrets(lab: Any, host: str) -> list[str]:
    """UUIDs of the secrets that libvirt has on a host."""
    return [line.split()[0] for line in lab.run(host, ["virsh", "secret-list"]).stdout.splitlines()[2:] if line.strip()]


def accounts(lab: Any) -> list[str]:
    """Users that tgtd knows."""
    shown = lab.run("controller", ["tgtadm", "--lld", "iscsi", "--op", "show", "--mode", "account"]).stdout.splitlines()
    return [line.strip() for line in shown[1:] if line.strip()]


def test_the_password_goes_with_the_guest(lab: Any, client: Any, server: Any, volume: str) -> None:
    (before,) = accounts(lab)
    assert before.startswith(volume)
    (first,) = secrets(lab, "compute1")
    assert lab.run("compute1", ["virsh", "secret-get-value", first], check=False).returncode != 0, "it is private"

    lab.nova("live-migration", "--block-migrate", server.name, "compute2")
    assert scenario.wait_for_end(client, server.id, 120)["status"] == "completed"

    (after,) = accounts(lab)
    assert after != before
    assert (secrets(lab, "compute1"), len(secrets(lab, "compute2"))) == ([], 1)
    url = f"iscsi://{lab.layout.controller.management_ip}/iqn.2026-11.org.nova-blockmigrate:volume-{volume}/1"
    stranger = ["qemu-img", "info", "-U", url.replace("iscsi://", "iscsi://nobody%wrongwrongwrong@")]
    assert lab.run("compute2", stranger, check=False).returncode != 0
    assert_whole(server)

    lab.nova("volume-detach", server.name, volume)
    wait_until(lambda: accounts(lab) == [], 60, "tgtd knows nobody any more")
    wait_until(lambda: secrets(lab, "compute2") == [], 60, "the host has forgotten the password")
    scenario.wait_for_status(client, server.id, "ACTIVE", 60)


@pytest.fixture
def root(lab: Any, volume: str) -> str:
    """The volume, with the guest image on it."""
    disk = f"/var/lib/nova-blockmigrate/volumes/{volume}/disk"
    lab.run("controller", ["qemu-img", "convert", "-n", "-O", "raw", foreign.image_path(lab), disk])
    return volume


@pytest.fixture
def diskless(lab: Any, client: Any, root: str) -> Any:
    """A server on compute1 that boots from the volume and has no other disk."""
    return scenario.boot_from_volume(lab, client, "from-volume", "compute1", root)


def test_a_server_that_boots_from_a_volume_moves_and_nothing_is_copied(lab: Any, client: Any, diskless: Any, root: str) -> None:
    before = diskless.guest.status()
    shown = client.server(diskless.id)
    assert (shown["image"], [one["id"] for one in shown["os-extended-volumes:volumes_attached"]]) == ("", [root])
    assert lab.run("compute1", ["ls", diskless.disk], check=False).returncode != 0

    copied: set[int] = set()

    lab.nova("live-migration", diskless.name, "compute2")
    migration = scenario.wait_for_end(client, diskless.id, 120, lambda running: copied.add(running["disk_processed_bytes"] or 0))

    assert (migration["status"], client.server(diskless.id)[HOST]) == ("completed", "compute2")
    assert copied <= {0}
    assert tgt.served(lab.layout, root) == only("compute2")
    assert guest.uptime_went_on(before, diskless.guest.wait())
    now = diskless.guest.status()
    diskless.guest.wait_for_record(now["record"] + 20)
    assert diskless.guest.verify().is_whole
    assert scenario.leftovers(lab, "compute1", diskless) == []
    assert (secrets(lab, "compute1"), len(secrets(lab, "compute2"))) == ([], 1)


@pytest.fixture
def crawling(lab: Any) -> Iterator[None]:
    """Memory alone takes long enough for something to happen in the middle."""
    lab.limit_rate("compute1", CRAWLING_MBIT_S)
    yield
    speed_up(lab)


@pytest.mark.usefixtures("crawling")
def test_a_server_that_boots_from_a_volume_is_rolled_back_in_mid_transfer(lab: Any, client: Any, diskless: Any, root: str) -> None:
    before = diskless.guest.status()
    lab.nova("live-migration", diskless.name, "compute2")

    def on_the_way() -> bool:
        running = client.running_migrations(diskless.id)
        return bool(running and running[0]["status"] == "running" and running[0]["memory_processed_bytes"])

    wait_until(on_the_way, 60, "memory is being sent")
    assert tgt.served(lab.layout, root) == only("compute1", "compute2")
    assert (len(secrets(lab, "compute1")), len(secrets(lab, "compute2"))) == (1, 1)
    lab.run("compute2", ["sh", "-c", f"kill -9 $(cat /run/libvirt/qemu/{diskless.domain}.pid)"])
    speed_up(lab)
    migration = scenario.wait_for_end(client, diskless.id, 60)

    assert migration["status"] == "failed"
    scenario.wait_for_status(client, diskless.id, "ACTIVE", 30)
    assert client.server(diskless.id)[HOST] == "compute1"
    assert tgt.served(lab.layout, root) == only("compute1")
    assert (len(secrets(lab, "compute1")), secrets(lab, "compute2")) == (1, [])
    assert scenario.leftovers(lab, "compute2", diskless) == []
    now = diskless.guest.wait()
    assert guest.uptime_went_on(before, now)
    diskless.guest.wait_for_record(now["record"] + 20)
    assert diskless.guest.verify().is_whole


def test_block_migration_of_a_server_without_local_disks_is_refused_and_changes_nothing(
    lab: Any, client: Any, diskless: Any, root: str
) -> None:
    lab.nova("live-migration", "--block-migrate", diskless.name, "compute2")
    migration = scenario.wait_for_end(client, diskless.id, 60)

    assert migration["status"] == "error"
    assert any("no disk of this server is local" in reason for reason in scenario.reasons(client, diskless.id))
    assert tgt.served(lab.layout, root) == only("compute1")
    assert scenario.leftovers(lab, "compute2", diskless) == []
    assert diskless.guest.verify().is_whole


def test_the_volume_that_a_server_boots_from_stays_with_it(lab: Any, client: Any, diskless: Any, root: str) -> None:
    refused = lab.nova("volume-detach", diskless.name, root, check=False)
    assert (refused.returncode != 0, "boots from it" in refused.stderr) == (True, True)
    scenario.delete_all(lab, client)
    assert accounts(lab) == []
    assert secrets(lab, "compute1") == []
