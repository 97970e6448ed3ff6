"""Bases that no guest needs any more: only ours go, only after their time, and never one that somebody begins to need."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

import pytest

from nova_blockmigrate.image import cleaning
from nova_blockmigrate.image.cache import BaseImages
from nova_blockmigrate.image.manifest import Manifests
from nova_blockmigrate.image.source import LocalDirectory
from nova_blockmigrate.objects import ImageRef

AGE_S = 100.0
NOW_S = 2_000_000_000.0


class Host:
    """A host whose cache holds one base that was made here a while ago."""

    def __init__(self, tmp_path: Path) -> None:
        self.manifests = Manifests(str(tmp_path / "manifests"))
        (tmp_path / "images").mkdir()
        (tmp_path / "images/image").write_bytes(b"x" * 512)
        source = LocalDirectory(str(tmp_path / "images"), self.manifests, "here")
        self.images = BaseImages(str(tmp_path), source, self.manifests, True, "here")
        self.image = ImageRef("image", "raw", 512, hashlib.sha256(b"x" * 512).hexdigest())
        self.base = self.make()
        self.used: set[str] = set()
        self.listed: set[str] = set()

    def make(self) -> str:
        base = self.images.base_for(self.image).path
        self.manifests.note_use(base, NOW_S - 2 * AGE_S)
        return base

    def clean(self, now_s: float = NOW_S) -> tuple[str, ...]:
        return cleaning.remove_unused(self.images.directory, self.manifests, self.used, self.listed.__contains__, AGE_S, now_s)


@pytest.fixture
def here(tmp_path: Path) -> Host:
    if shutil.which("qemu-img") is None:
        pytest.skip("qemu-img is not installed")
    return Host(tmp_path)


def test_a_base_that_nobody_needs_goes_and_is_made_again_when_somebody_does(here: Host) -> None:
    assert here.clean() == (here.base,)
    assert not os.path.exists(here.base)
    with pytest.raises(FileNotFoundError):
        here.manifests.last_use(here.base)
    assert here.make() == here.base and os.path.exists(here.base)


def test_a_base_stays_for_its_time_after_it_was_needed_last(here: Host) -> None:
    here.used.add(os.path.realpath(here.base))
    assert here.clean() == ()
    here.used.clear()

    assert here.clean(NOW_S + AGE_S - 1) == ()
    assert here.clean(NOW_S + AGE_S) == (here.base,)


def test_a_base_that_a_ledger_lists_stays(here: Host) -> None:
    here.listed.add(here.base)
    assert here.clean() == ()


def test_a_base_beside_a_namesake_stays_while_a_ledger_lists_that_name(here: Host) -> None:
    os.unlink(here.base)
    Path(here.base).write_bytes(b"other bytes")
    beside = here.make()
    assert beside != here.base
    here.listed.add(here.base)
    assert here.clean() == ()

    here.listed.clear()
    assert here.clean(NOW_S + AGE_S) == (beside,)
    assert Path(here.base).read_bytes() == b"other bytes"


def test_one_that_somebody_begins_to_need_at_the_last_moment_stays(here: Host) -> None:
    answers = iter((False, True))
    assert cleaning.remove_unused(here.images.directory, here.manifests, (), lambda path: next(answers), AGE_S, NOW_S) == ()
    assert os.path.exists(here.base)


def test_what_others_put_there_and_what_has_changed_stays(here: Host) -> None:
    foreign = Path(here.images.directory) / "somebodys"
    foreign.write_text("x")
    here.manifests.sha256_of(str(foreign))  # (a hash that is known makes it no more ours)
    Path(here.base).write_bytes(b"changed")
    assert here.clean() == ()
    assert foreign.exists() and os.path.exists(here.base)


def test_a_base_that_was_there_with_the_right_bytes_is_not_ours(here: Host) -> None:
    os.unlink(here.base)
    Path(here.base).write_bytes(b"x" * 512)
    assert here.make() == here.base
    assert here.clean() == ()
