"""Base images: made once, complete or not at all, hashed once, and carried from host to host."""

import hashlib
import os
import shutil
import threading
from pathlib import Path

import pytest

from nova_blockmigrate.exceptions import ImageNotFound, StorageError
from nova_blockmigrate.image import manifest, nbd
from nova_blockmigrate.image.cache import BaseImages, completing
from nova_blockmigrate.image.source import LocalDirectory
from nova_blockmigrate.objects import ImageRef
from nova_blockmigrate.processes import run

pytestmark = pytest.mark.skipif(shutil.which("qemu-img") is None, reason="qemu-img is not installed")


@pytest.fixture
def image(tmp_path: Path) -> ImageRef:
    (tmp_path / "images").mkdir()
    raw, path = tmp_path / "raw", tmp_path / "images" / "the-image"
    raw.write_bytes(b"content" * 1000 + bytes(1048576 - 7000))
    assert run(["qemu-img", "convert", "-O", "qcow2", str(raw), str(path)]).returncode == 0
    return ImageRef("the-image", "qcow2", path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest())


def cache(tmp_path: Path, force_raw: bool = True) -> BaseImages:
    return BaseImages(str(tmp_path / "instances"), LocalDirectory(str(tmp_path / "images"), "here"), force_raw, "here")


def test_a_base_is_named_by_its_image_and_raw(tmp_path: Path, image: ImageRef) -> None:
    base = cache(tmp_path).base_for(image)
    assert base.path == f"{tmp_path}/instances/_base/{hashlib.sha1(b'the-image').hexdigest()}"
    assert (base.format, Path(base.path).read_bytes()) == ("raw", (tmp_path / "raw").read_bytes())


def test_a_base_keeps_its_format_when_raw_is_not_forced(tmp_path: Path, image: ImageRef) -> None:
    base = cache(tmp_path, force_raw=False).base_for(image)
    assert base.format == "qcow2"
    assert manifest.sha256_of(base.path) == image.sha256


def test_a_base_is_made_once_for_all_who_ask_at_the_same_time(tmp_path: Path, image: ImageRef) -> None:
    bases = cache(tmp_path)
    inodes = []
    threads = [threading.Thread(target=lambda: inodes.append(os.stat(bases.base_for(image).path).st_ino)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(inodes) == 4
    assert len(set(inodes)) == 1


def test_an_image_with_other_bytes_is_refused_and_nothing_is_left(tmp_path: Path, image: ImageRef) -> None:
    wrong = ImageRef(image.id, image.disk_format, image.size_bytes, "0" * 64)
    with pytest.raises(StorageError, match="copy the right file"):
        cache(tmp_path).base_for(wrong)
    assert [path.suffix for path in (tmp_path / "instances" / "_base").iterdir()] == [".lock"]


def test_a_missing_image_is_an_error_that_says_where_it_is_expected(tmp_path: Path, image: ImageRef) -> None:
    with pytest.raises(ImageNotFound, match=r"images/another"):
        cache(tmp_path).base_for(ImageRef("another", "qcow2", 1, ""))


def test_a_manifest_is_believed_until_the_file_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "base"
    path.write_bytes(b"a")
    first = manifest.sha256_of(str(path))
    with monkeypatch.context() as patch:
        patch.setattr(manifest, "compute", lambda path: pytest.fail("computed again"))
        assert manifest.sha256_of(str(path)) == first
    path.write_bytes(b"b")
    assert manifest.sha256_of(str(path)) == hashlib.sha256(b"b").hexdigest()


def test_a_damaged_manifest_is_as_none(tmp_path: Path) -> None:
    (tmp_path / "base").write_bytes(b"a")
    (tmp_path / f"base{manifest.SUFFIX}").write_text("{")
    assert manifest.sha256_of(str(tmp_path / "base")) == hashlib.sha256(b"a").hexdigest()


def test_what_fails_half_way_leaves_neither_part_nor_whole(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), completing(str(tmp_path / "base")) as part:
        Path(part).write_bytes(b"half")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not shutil.which("qemu-nbd") or not shutil.which("setpriv"), reason="qemu-nbd is not installed")
class TestOverTheNetwork:
    def test_a_base_arrives_verified_and_sparse(self, tmp_path: Path, image: ImageRef) -> None:
        raw, there = tmp_path / "raw", tmp_path / "there" / "base"
        expected = hashlib.sha256(raw.read_bytes()).hexdigest()
        with nbd.serve(str(raw), "127.0.0.1", "here") as uri:
            fetched = nbd.fetch(uri, expected, str(there), "there")
        assert there.read_bytes() == raw.read_bytes()
        assert 0 < fetched < 1048576
        assert manifest.recorded(str(there)) == expected

    def test_other_bytes_than_asked_for_are_not_kept(self, tmp_path: Path, image: ImageRef) -> None:
        there = tmp_path / "there" / "base"
        with nbd.serve(str(tmp_path / "raw"), "127.0.0.1", "here") as uri, pytest.raises(StorageError, match="expected"):
            nbd.fetch(uri, "0" * 64, str(there), "there")
        assert not there.exists()

    def test_serving_ends_with_its_context(self, tmp_path: Path, image: ImageRef) -> None:
        with nbd.serve(str(tmp_path / "raw"), "127.0.0.1", "here") as uri:
            pass
        with pytest.raises(StorageError):
            nbd.fetch(uri, "0" * 64, str(tmp_path / "there" / "base"), "there")

    def test_a_file_that_is_not_there_cannot_be_served(self, tmp_path: Path) -> None:
        with pytest.raises(StorageError, match="gone"), nbd.serve(str(tmp_path / "gone"), "127.0.0.1", "here"):
            pass
