"""Backing chains as qemu-img tells them, and files made like those of the source."""

import json
import shutil
from pathlib import Path

import pytest

from nova_blockmigrate.exceptions import StorageError
from nova_blockmigrate.objects import DiskLayer
from nova_blockmigrate.virt.libvirt import disks

INFO = json.dumps(
    [
        {
            "filename": "/i/disk",
            "format": "qcow2",
            "virtual-size": 1073741824,
            "actual-size": 200704,
            "cluster-size": 65536,
            "format-specific": {"type": "qcow2", "data": {"compat": "1.1"}},
            "backing-filename-format": "raw",
        },
        {"filename": "/b", "format": "raw", "virtual-size": 67108864, "actual-size": 15585280},
    ]
)
needs_qemu_img = pytest.mark.skipif(shutil.which("qemu-img") is None, reason="qemu-img is not installed")


def test_a_chain_is_parsed_from_the_top_down() -> None:
    top, base = disks.parse_chain(INFO)
    assert top == DiskLayer("/i/disk", "qcow2", 1073741824, 200704, 65536, "1.1", backing_format="raw")
    assert base == DiskLayer("/b", "raw", 67108864, 15585280)


@pytest.mark.parametrize(
    ("layer", "backing", "command"),
    [
        (
            DiskLayer("", "qcow2", 1000, 0, 65536, "1.1"),
            DiskLayer("/b", "raw", 10, 0),
            "qemu-img create -q -f qcow2 -o cluster_size=65536,compat=1.1 -u -b /b -F raw /d 1000",
        ),
        (
            DiskLayer("", "qcow2", 1000, 0, 4096, "0.10"),
            None,
            "qemu-img create -q -f qcow2 -o cluster_size=4096,compat=0.10 /d 1000",
        ),
        (DiskLayer("", "raw", 1000, 0), None, "qemu-img create -q -f raw /d 1000"),
    ],
)
def test_a_file_is_created_with_the_parameters_of_the_sources(layer: DiskLayer, backing: DiskLayer | None, command: str) -> None:
    assert disks.creation_command("/d", layer, backing) == command.split()


@needs_qemu_img
@pytest.mark.parametrize(("cluster", "compat", "size"), [(65536, "1.1", 1073741824), (4096, "0.10", 12345 * 512)])
def test_what_is_created_reads_like_what_it_was_made_after(tmp_path: Path, cluster: int, compat: str, size: int) -> None:
    (tmp_path / "base").write_bytes(b"\0" * 1048576)
    base = DiskLayer(str(tmp_path / "base"), "raw", 1048576, 0)
    path = str(tmp_path / "disk")
    disks.create(path, DiskLayer("", "qcow2", size, 0, cluster, compat), base, "here")
    top, below = disks.read_chain(path, "qcow2", "here")
    assert (top.virtual_size_bytes, top.cluster_size_bytes, top.compat) == (size, cluster, compat)
    assert (below.path, below.format) == (base.path, "raw")


@needs_qemu_img
def test_a_new_disk_is_never_smaller_than_its_image(tmp_path: Path) -> None:
    (tmp_path / "base").write_bytes(b"\0" * 1048576)
    disks.new_overlay(str(tmp_path / "disk"), DiskLayer(str(tmp_path / "base"), "raw", 1048576, 0), 0, "here")
    assert disks.read_chain(str(tmp_path / "disk"), "qcow2", "here")[0].virtual_size_bytes == 1048576


def test_a_raw_disk_is_made_sparse_and_exact(tmp_path: Path) -> None:
    disks.create(str(tmp_path / "disk"), DiskLayer("", "raw", 10 * 1048576 + 512, 0), None, "here")
    status = (tmp_path / "disk").stat()
    assert (status.st_size, status.st_blocks) == (10 * 1048576 + 512, 0)


@needs_qemu_img
def test_a_missing_base_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    path = str(tmp_path / "disk")
    disks.create(path, DiskLayer("", "qcow2", 1048576, 0), DiskLayer(str(tmp_path / "gone"), "raw", 1048576, 0), "here")
    with pytest.raises(StorageError, match="gone"):
        disks.read_chain(path, "qcow2", "here")


def test_flushing_a_file_that_is_gone_is_fine(tmp_path: Path) -> None:
    (tmp_path / "disk").write_bytes(b"x")
    disks.flush([str(tmp_path / "disk"), str(tmp_path / "gone")])
