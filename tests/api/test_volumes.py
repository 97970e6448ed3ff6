"""Volumes by the real nova command: attached, listed, taken along in a migration, detached."""

from __future__ import annotations

import uuid as uuids
from collections.abc import Callable

import pytest
from client import Product, wait_until

Boot = Callable[..., str]


@pytest.fixture
def volume(product: Product) -> str:
    made = str(uuids.uuid4())
    product.control("make_volume", volume_id=made)
    return made


def attach(product: Product, uuid: str, volume: str) -> None:
    said = product.nova("volume-attach", uuid, volume)
    assert said.code == 0, said.everything
    shown = {row["Property"]: row["Value"] for row in said.table()}
    assert (shown["device"], shown["volumeId"]) == ("/dev/vdb", volume)
    wait_until(lambda: product.server(uuid)["OS-EXT-STS:task_state"] is None, "it is attached")


def test_a_volume_is_attached_listed_and_detached(product: Product, boot: Boot, volume: str) -> None:
    uuid = boot("compute1")
    attach(product, uuid, volume)

    (row,) = product.nova("volume-attachments", uuid).table()
    assert (row["DEVICE"], row["SERVER ID"], row["VOLUME ID"]) == ("/dev/vdb", uuid, volume)
    assert product.server(uuid)["os-extended-volumes:volumes_attached"] == [{"id": volume, "delete_on_termination": False}]
    assert product.control("rights", volume_id=volume) == ["compute1"]

    assert product.nova("volume-detach", uuid, volume).code == 0
    wait_until(lambda: product.server(uuid)["os-extended-volumes:volumes_attached"] == [], "it is detached")
    assert product.control("rights", volume_id=volume) == []


def test_openstack_command_attaches_and_lists(product: Product, boot: Boot, volume: str) -> None:
    uuid = boot("compute1")
    attach(product, uuid, volume)
    said = product.openstack("server", "volume", "list", uuid)
    assert (said.code, volume in said.out) == (0, True), said.everything


def test_a_migration_takes_the_volume_along(product: Product, boot: Boot, volume: str) -> None:
    uuid = boot("compute1")
    attach(product, uuid, volume)
    product.control("hold", host="compute1", point="live_migration", at=0.5)
    product.migrate(uuid, "compute2")
    product.wait_migration(uuid, "running")
    assert product.control("rights", volume_id=volume) == ["compute1", "compute2"]
    assert product.nova("volume-detach", uuid, volume).code != 0, "something is done to the server"
    product.control("release", host="compute1", point="live_migration")
    product.wait_migration(uuid, "completed")
    assert product.control("rights", volume_id=volume) == ["compute2"]


def test_a_failed_migration_leaves_the_right_where_it_was(product: Product, boot: Boot, volume: str) -> None:
    uuid = boot("compute1")
    attach(product, uuid, volume)
    product.control("fail", host="compute2", point="pre_live_migration", reason="no space")
    product.migrate(uuid, "compute2")
    product.wait_migration(uuid, "failed")
    assert product.control("rights", volume_id=volume) == ["compute1"]


def test_what_cannot_be_attached_changes_nothing(product: Product, boot: Boot, volume: str) -> None:
    one, two = boot("compute1"), boot("compute2")
    attach(product, one, volume)
    for server, wanted in ((two, volume), (one, str(uuids.uuid4()))):
        assert product.nova("volume-attach", server, wanted).code != 0
    assert product.server(two)["OS-EXT-STS:task_state"] is None
    assert product.control("rights", volume_id=volume) == ["compute1"]


def test_a_volume_of_another_project_cannot_be_attached_booted_from_or_learnt_of(product: Product, boot: Boot) -> None:
    theirs = str(uuids.uuid4())
    product.control("make_volume", volume_id=theirs, project="other")
    uuid, member = boot("compute1"), product.tokens["member"]

    refused = product.nova("volume-attach", uuid, theirs, token=member)
    assert (refused.code != 0, "HTTP 404" in refused.everything) == (True, True), refused.everything
    refused = product.nova("boot", "--flavor", "m1.tiny", "--boot-volume", theirs, "--nic", "none", "thief", token=member)
    assert (refused.code != 0, "could not be found" in refused.everything) == (True, True), refused.everything
    assert product.control("rights", volume_id=theirs) == []

    attach(product, uuid, theirs)  # (an administrator may)
    refused = product.nova("volume-attach", uuid, theirs, token=member)
    assert "HTTP 404" in refused.everything, "a member does not learn that somebody has it"
