"""os-brick behind its process: the real one, for what needs no storage."""

from __future__ import annotations

import pathlib
import platform
from collections.abc import Iterator

import pytest
from oslo_config import cfg

from nova_blockmigrate import conf as configuration
from nova_blockmigrate.exceptions import StorageError
from nova_blockmigrate.objects import VolumeConnection
from nova_blockmigrate.volume import brick, brick_helper
from nova_blockmigrate.volume.brick import Brick

VOLUME = VolumeConnection("0d4b1a80-1111-4fdc-8828-2b8892daab39", "a1", "compute1", "vdb", "local")


@pytest.fixture
def conf(tmp_path: pathlib.Path) -> cfg.ConfigOpts:
    conf = cfg.ConfigOpts()
    configuration.register(conf)
    conf([], default_config_files=[])
    conf.set_override("state_path", str(tmp_path))
    conf.set_override("my_ip", "192.0.2.1")
    return conf


@pytest.fixture
def under_test(conf: cfg.ConfigOpts) -> Iterator[Brick]:
    brick = Brick(conf, "compute1")
    yield brick
    brick.close()


def connection(protocol: str, **data: object) -> VolumeConnection:
    return VolumeConnection("0d4b1a80-1111-4fdc-8828-2b8892daab39", "a1", "compute1", "vdb", protocol, data)


def test_it_describes_the_host_and_connects_and_disconnects_what_is_there(under_test: Brick, tmp_path: pathlib.Path) -> None:
    found = under_test.properties()
    assert (found["host"], found["ip"], found["platform"], found["multipath"]) == (
        "compute1", "192.0.2.1", platform.machine(), False,
    )  # fmt: skip
    assert "nvme_native_multipath" in found, "only os-brick knows of that"

    volume = connection("local", device_path=str(tmp_path / "volume"))
    assert under_test.connect(volume) == str(tmp_path / "volume")
    for _ in range(2):
        under_test.disconnect(volume.protocol, volume.data)


@pytest.mark.parametrize("protocol, reason", [("nonsense", "os-brick"), ("local", "device_path")])
def test_what_os_brick_refuses_is_told_in_its_words(under_test: Brick, protocol: str, reason: str) -> None:
    with pytest.raises(StorageError, match=reason):
        under_test.connect(connection(protocol))


def test_what_the_host_lacks_is_named_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(brick.shutil, "which", lambda program: None)
    assert "apt-get install open-iscsi" in brick.why_not("iscsi")
    monkeypatch.setattr(brick.shutil, "which", lambda program: f"/sbin/{program}")
    assert "module iscsi_tcp" in brick.why_not("iscsi", lambda module, seen_at: False)
    assert brick.why_not("iscsi", lambda module, seen_at: True) == ""
    assert brick.why_not("local") == ""


def test_a_volume_whose_protocol_the_host_lacks_is_refused_before_anything_is_tried(
    under_test: Brick, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(brick, "why_not", lambda protocol: "nfs needs mount.nfs on this host")
    monkeypatch.setattr(under_test, "_attendant", None)
    with pytest.raises(StorageError, match=r"needs mount\.nfs"):
        under_test.connect(connection("nfs"))


@pytest.mark.parametrize("protocol", ["iscsi", "iser", "fibre_channel", "nvmeof", "rbd", "nfs", "glusterfs", "local"])
def test_every_protocol_has_a_connector(protocol: str, tmp_path: pathlib.Path) -> None:
    request = {"protocol": protocol, "multipath": False, "data": {}}
    assert brick_helper._connector(request, str(tmp_path)).connect_volume


def test_a_share_that_is_not_mounted_need_not_be_unmounted(tmp_path: pathlib.Path) -> None:
    request = {"do": "unmount", "protocol": "nfs", "export": "192.0.2.9:/share"}
    assert brick_helper.answer(request, str(tmp_path)) == {"error": ""}


@pytest.mark.parametrize("booted", [True, False])
def test_a_mount_is_no_part_of_the_service_for_systemd(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, booted: bool
) -> None:
    ran: list[tuple[str, ...]] = []
    monkeypatch.setattr(brick_helper, "BOOTED_BY_SYSTEMD", str(tmp_path if booted else tmp_path / "missing"))
    monkeypatch.setattr(brick_helper.rootwrap, "execute", lambda *command, **options: ran.append(command) or ("", ""))
    request = {"multipath": False, "protocol": "glusterfs", "data": {"export": "192.0.2.9:/share", "name": "volume"}}

    path = brick_helper.connect(request, str(tmp_path))["path"]

    point = str(pathlib.Path(path).parent)
    mount = ("mount", "-t", "glusterfs", "192.0.2.9:/share", point)
    assert ran == [("mkdir", "-p", point), ("systemd-run", "--scope", "--quiet", *mount) if booted else mount]
