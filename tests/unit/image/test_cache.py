"""Base images: made once, complete or not at all, hashed once, and carried from host to host."""

import hashlib
import os
import shutil
from pathlib import Path

import pytest

from nova_blockmigrate.concurrency import native
from nova_blockmigrate.exceptions import ImageNotFound, StorageError
from nova_blockmigrate.image import manifest
from nova_blockmigrate.image.cache import BaseImages, completing, making
from nova_blockmigrate.image.manifest import Manifests
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
    source = LocalDirectory(str(tmp_path / "images"), known(tmp_path), "here")
    return BaseImages(str(tmp_path / "instances"), source, known(tmp_path), force_raw, "here")


def known(tmp_path: Path) -> Manifests:
    return Manifests(str(tmp_path / "manifests"))


def test_a_base_is_named_by_its_image_and_raw(tmp_path: Path, image: ImageRef) -> None:
    base = cache(tmp_path).base_for(image)
    assert base.path == f"{tmp_path}/instances/_base/{hashlib.sha1(b'the-image').hexdigest()}"
    assert (base.format, Path(base.path).read_bytes()) == ("raw", (tmp_path / "raw").read_bytes())


def test_a_base_keeps_its_format_when_raw_is_not_forced(tmp_path: Path, image: ImageRef) -> None:
    base = cache(tmp_path, force_raw=False).base_for(image)
    assert base.format == "qcow2"
    assert known(tmp_path).sha256_of(base.path) == image.sha256


def test_a_base_is_made_once_for_all_who_ask_at_the_same_time(tmp_path: Path, image: ImageRef) -> None:
    bases = cache(tmp_path)
    inodes = []
    threads = [native.threading.Thread(target=lambda: inodes.append(os.stat(bases.base_for(image).path).st_ino)) for _ in range(4)]
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
    assert list((tmp_path / "instances" / "_base").iterdir()) == []


def test_a_missing_image_is_an_error_that_says_where_it_is_expected(tmp_path: Path, image: ImageRef) -> None:
    with pytest.raises(ImageNotFound, match=r"images/another"):
        cache(tmp_path).base_for(ImageRef("another", "qcow2", 1, ""))


def test_a_file_of_the_bases_name_with_other_bytes_is_not_used_and_left_alone(tmp_path: Path, image: ImageRef) -> None:
    namesake = Path(cache(tmp_path).path_of(image))
    namesake.parent.mkdir(parents=True)
    namesake.write_text("other bytes")
    known(tmp_path).sha256_of(str(namesake))  # as when a check looks at it

    first, second = cache(tmp_path).base_for(image), cache(tmp_path).base_for(image)

    assert Path(first.path).read_bytes() == (tmp_path / "raw").read_bytes()
    assert first == second
    assert first.path == f"{namesake}.{hashlib.sha256((tmp_path / 'raw').read_bytes()).hexdigest()[:16]}"
    assert namesake.read_text() == "other bytes"
    assert sorted(namesake.parent.iterdir()) == [namesake, Path(first.path)]


def test_a_file_of_the_bases_name_with_its_bytes_is_used_whoever_made_it(tmp_path: Path, image: ImageRef) -> None:
    there = Path(cache(tmp_path).path_of(image))
    there.parent.mkdir(parents=True)
    shutil.copy(tmp_path / "raw", there)
    number = there.stat().st_ino

    assert cache(tmp_path).base_for(image).path == str(there)
    assert there.stat().st_ino == number
    assert list(there.parent.iterdir()) == [there]


def test_a_base_whose_bytes_were_changed_is_made_anew(tmp_path: Path, image: ImageRef) -> None:
    base = Path(cache(tmp_path).base_for(image).path)
    with base.open("r+b") as file:
        file.write(b"changed")
    again = Path(cache(tmp_path).base_for(image).path)
    assert again != base
    assert again.read_bytes() == (tmp_path / "raw").read_bytes()


@pytest.mark.parametrize(
    "options, why",
    [
        (["-u", "-b", "/etc/passwd", "-F", "raw"], "overlay on another file"),
        (["-o", "data_file=data,data_file_raw=on"], "data are in another file"),
        (["--object", "secret,id=s,data=x", "-o", "encrypt.format=aes,encrypt.key-secret=s"], "encrypted"),
    ],
)
def test_an_image_that_points_elsewhere_is_refused(tmp_path: Path, image: ImageRef, options: list[str], why: str) -> None:
    path = tmp_path / "images" / "sly"
    command = ["qemu-img", "create", "-q", "-f", "qcow2", *options, str(path), "1M"]
    done = run(["env", "-C", str(tmp_path), *command])
    assert done.returncode == 0, done.stderr
    with pytest.raises(StorageError, match=why):
        cache(tmp_path).base_for(ImageRef("sly", "qcow2", path.stat().st_size, ""))
    assert list((tmp_path / "instances" / "_base").iterdir()) == []


def test_an_image_that_is_not_what_it_is_called_is_refused(tmp_path: Path, image: ImageRef) -> None:
    (tmp_path / "images" / "text").write_text("no qcow2" * 100)
    with pytest.raises(StorageError, match="no qcow2 file"):
        cache(tmp_path).base_for(ImageRef("text", "qcow2", 800, ""))
    with pytest.raises(StorageError, match="format is vmdk"):
        cache(tmp_path).base_for(ImageRef("text", "vmdk", 800, ""))


def test_a_manifest_is_believed_until_the_file_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "base"
    path.write_bytes(b"a")
    first = known(tmp_path).sha256_of(str(path))
    with monkeypatch.context() as patch:
        patch.setattr(manifest, "compute", lambda path: pytest.fail("computed again"))
        assert known(tmp_path).sha256_of(str(path)) == first
    path.write_bytes(b"b")
    assert known(tmp_path).sha256_of(str(path)) == hashlib.sha256(b"b").hexdigest()


def test_a_damaged_manifest_is_as_none(tmp_path: Path) -> None:
    (tmp_path / "base").write_bytes(b"a")
    known(tmp_path).sha256_of(str(tmp_path / "base"))
    for written in (tmp_path / "manifests").iterdir():
        written.write_text("{")
    assert known(tmp_path).sha256_of(str(tmp_path / "base")) == hashlib.sha256(b"a").hexdigest()


def test_what_fails_half_way_leaves_neither_part_nor_whole(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), completing(str(tmp_path / "base")) as part:
        Path(part).write_bytes(b"half")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_only_one_at_a_time_makes_a_file_and_nothing_is_left_of_the_waiting(tmp_path: Path) -> None:
    path, inside, most = str(tmp_path / "base"), [0], []

    def make() -> None:
        with making(path):
            inside[0] += 1
            most.append(inside[0])
            native.threading.Event().wait(0.01)
            inside[0] -= 1

    threads = [native.threading.Thread(target=make) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 5
    assert list(tmp_path.iterdir()) == []


def test_hashes_of_files_that_are_gone_are_forgotten(tmp_path: Path) -> None:
    for name in ("stays", "goes"):
        (tmp_path / name).write_bytes(b"a")
        known(tmp_path).sha256_of(str(tmp_path / name))
    (tmp_path / "goes").unlink()

    known(tmp_path).prune()

    assert len(list((tmp_path / "manifests").iterdir())) == 1
    assert known(tmp_path).recorded(str(tmp_path / "stays"))
