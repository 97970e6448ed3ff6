"""Images of a real Glance: found by name, seen by whom they are for, brought to hosts, and not needed once a server has them."""

from __future__ import annotations

import hashlib
import pathlib
from collections.abc import Callable
from typing import Any

import pytest

from labkit import api, glance, guest, keystone, rest, scenario, seed
from labkit.commands import wait_until
from labkit.errors import LabError
from labkit.layout import API_PORT, VENV
from labkit.scenario import HOST

BASES = "/var/lib/nova/instances/_base"
FROM_SOURCE = "is not here: bringing it from"
OPENSTACK = (str(VENV / "bin/python"), "-W", "ignore", str(VENV / "bin/openstack"))


def base_of(image_id: str) -> str:
    return f"{BASES}/{hashlib.sha1(image_id.encode(), usedforsecurity=False).hexdigest()}"


def id_of(images: Any, name: str) -> str:
    return str(images.ask("GET", f"/images?name={name}")["images"][0]["id"])


def sha256(lab: Any, host: str, path: str) -> str:
    return str(lab.run(host, ["sha256sum", path]).stdout.split()[0])


def log_of(lab: Any, host: str) -> str:
    text: str = lab.layout.log_of(lab.machine(host), "compute").read_text()
    return text


def bases(lab: Any, host: str) -> list[str]:
    return sorted(lab.run(host, ["find", BASES, "-type", "f"], check=False).stdout.split())


def move(lab: Any, client: Any, server: Any, host: str) -> dict[str, Any]:
    lab.nova("live-migration", "--block-migrate", server.name, host)
    migration: dict[str, Any] = scenario.wait_for_end(client, server.id, 180)
    return migration


def assert_moved(client: Any, server: Any, before: dict[str, Any], migration: dict[str, Any], host: str) -> None:
    assert (migration["status"], client.server(server.id)[HOST]) == ("completed", host)
    after = server.guest.wait()
    assert guest.uptime_went_on(before, after)
    assert server.guest.verify().is_whole


def create(lab: Any, client: Any, image_id: str, user: str = "admin") -> tuple[int, Any]:
    """Status and body of POST /servers."""
    project = "admin" if user == "admin" else keystone.USERS[user][0]
    token = keystone.issue_token(lab.layout, lab.record.password, user, project)
    flavor = client.request("GET", "/flavors")["flavors"][0]["id"]
    body = {"server": {"name": "refused", "imageRef": image_id, "flavorRef": flavor, "networks": "none"}}
    status, content = rest.raw(lab.layout, API_PORT, "POST", "/v2.1/servers", body, token, "compute 2.96")
    return status, content


def test_a_server_is_booted_by_an_images_name_and_its_base_comes_from_glance_on_both_hosts(
    lab: Any, client: Any, images: Any, boot: Callable[..., Any]
) -> None:
    server = boot()
    before = server.guest.status()
    image_id = id_of(images, seed.IMAGE)
    assert client.server(server.id)["image"]["id"] == image_id
    assert bases(lab, "compute1") == [base_of(image_id)]
    seen = len(log_of(lab, "compute2"))

    migration = move(lab, client, server, "compute2")

    assert_moved(client, server, before, migration, "compute2")
    said = log_of(lab, "compute2")[seen:]
    assert f"{base_of(image_id)} was made from image {image_id}" in said
    assert FROM_SOURCE not in said
    assert sha256(lab, "compute2", base_of(image_id)) == sha256(lab, "compute1", base_of(image_id))
    assert bases(lab, "compute2") == [base_of(image_id)]


def test_the_openstack_client_boots_by_name_too(lab: Any, client: Any) -> None:
    create = ["server", "create", "--image", seed.IMAGE, "--flavor", "m1.tiny", "--no-network", "by-name"]
    lab.run("controller", [*OPENSTACK, *create], administrator=True)
    try:
        server_id = api.server_id(lab.layout, seed.token_of(lab.layout), "by-name")
        scenario.wait_for_status(client, server_id, "ACTIVE", 180)
    finally:
        scenario.delete_all(lab, client)


def test_a_server_whose_image_is_deleted_moves_with_the_sources_base(
    lab: Any, client: Any, images: Any, boot: Callable[..., Any], doomed: str
) -> None:
    server = boot(image=doomed)
    before = server.guest.status()
    images.delete(doomed)
    seen = len(log_of(lab, "compute2"))

    migration = move(lab, client, server, "compute2")

    assert_moved(client, server, before, migration, "compute2")
    assert f"base image {base_of(doomed)} {FROM_SOURCE} compute1" in log_of(lab, "compute2")[seen:]
    assert sha256(lab, "compute2", base_of(doomed)) == sha256(lab, "compute1", base_of(doomed))


def test_a_glance_that_is_away_does_not_keep_a_guest_from_moving(
    lab: Any, client: Any, boot: Callable[..., Any], doomed: str
) -> None:
    server = boot(image=doomed)
    before = server.guest.status()
    lab.stop("controller", glance.DAEMON)
    try:
        migration = move(lab, client, server, "compute2")
    finally:
        lab.start("controller", glance.DAEMON)
        wait_until(lambda: glance.answers(lab.layout), 60, "Glance answers again")
    assert_moved(client, server, before, migration, "compute2")


def test_a_base_of_the_right_name_with_other_bytes_is_not_used(
    lab: Any, client: Any, boot: Callable[..., Any], doomed: str
) -> None:
    for host in ("compute1", "compute2"):
        lab.run(host, ["sh", "-c", f"mkdir -p {BASES} && echo other bytes > {base_of(doomed)}"])
    server = boot(image=doomed)
    before = server.guest.status()
    right = next(path for path in bases(lab, "compute1") if path.startswith(base_of(doomed) + "."))
    assert sha256(lab, "compute1", right).startswith(right.rpartition(".")[2])

    migration = move(lab, client, server, "compute2")

    assert_moved(client, server, before, migration, "compute2")
    assert sha256(lab, "compute2", right) == sha256(lab, "compute1", right)
    for host in ("compute1", "compute2"):
        assert lab.run(host, ["cat", base_of(doomed)]).stdout == "other bytes\n"


def test_an_image_that_the_project_may_not_see_does_not_exist_for_it(lab: Any, client: Any, images: Any) -> None:
    hidden = images.make("hidden", _small_file(lab), visibility="private", disk_format="raw")
    status, content = create(lab, client, hidden, "member")
    assert (status, "could not be found" in str(content)) == (400, True), content
    assert images.ask("GET", f"/images/{hidden}")["status"] == "active"


def test_an_image_without_bytes_and_one_that_is_too_big_are_refused(lab: Any, client: Any, images: Any) -> None:
    queued = images.ask("POST", "/images", {"name": "queued", "disk_format": "raw", "container_format": "bare"})["id"]
    big = images.make("big", _small_file(lab), disk_format="raw", min_ram=100_000)
    wide = images.make("wide", _small_file(lab), disk_format="raw", min_disk=500)
    foreign = images.make("foreign", _small_file(lab), disk_format="ami", container_format="ami")
    try:
        for image_id, words in ((queued, "not active"), (big, "memory"), (wide, "of disk"), (foreign, "disk format")):
            status, content = create(lab, client, image_id)
            assert (status, words in content["badRequest"]["message"]) == (400, True), content
    finally:
        images.ask("DELETE", f"/images/{queued}")


@pytest.mark.parametrize("kind", ["overlay", "nonsense"])
def test_an_image_that_would_read_a_file_of_the_host_builds_nothing(lab: Any, client: Any, images: Any, kind: str) -> None:
    """Glance refuses most of them itself when they are uploaded; where it does not, the host does."""
    path = lab.layout.state / f"{kind}.qcow2"
    if kind == "overlay":
        lab.run("controller", ["qemu-img", "create", "-q", "-f", "qcow2", "-u", "-b", "/etc/passwd", "-F", "raw", str(path), "1M"])
    else:
        path.write_bytes(b"no qcow2" * 1000)
    try:
        try:
            bad = images.make(kind, path)
        except LabError as error:
            assert "4" in str(error).split(": ")[1][:1]
            return
        status, content = create(lab, client, bad)
        assert status == 202
        server_id = content["server"]["id"]
        scenario.wait_for_status(client, server_id, "ERROR", 60)
        assert "make the base" in client.server(server_id)["fault"]["message"]
        assert not [path for host in ("compute1", "compute2") for path in bases(lab, host) if path.startswith(base_of(bad))]
    finally:
        path.unlink()
        scenario.delete_all(lab, client)


def _small_file(lab: Any) -> pathlib.Path:
    path: pathlib.Path = lab.layout.state / "small.raw"
    path.write_bytes(bytes(4096))
    return path
