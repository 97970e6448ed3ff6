"""Base files at a destination: taken for their bytes and never for their name, brought once, gone with the last who uses them."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from nova_blockmigrate.compute.ledger import Records
from nova_blockmigrate.concurrency import native
from nova_blockmigrate.exceptions import StorageError
from nova_blockmigrate.image import cache
from nova_blockmigrate.image.cache import BaseImages, completing
from nova_blockmigrate.image.manifest import Manifests
from nova_blockmigrate.image.source import LocalDirectory
from nova_blockmigrate.objects import Artefact, DiskLayer, GuestDescription, GuestDisk, ImageRef, MigrationPlan, PowerState, Server
from nova_blockmigrate.virt.driver import BASE
from nova_blockmigrate.virt.libvirt import in_use, placing, unmake
from nova_blockmigrate.virt.libvirt.bringing import Bringing
from nova_blockmigrate.virt.libvirt.host import Host
from nova_blockmigrate.virt.libvirt.unmake import ADOPTED, SCRATCH, Site

CONTENT = b"the right bytes" * 1000
SHA = hashlib.sha256(CONTENT).hexdigest()


class Destination:
    """One host, with any number of migrations to it."""

    def __init__(self, tmp_path: Path) -> None:
        self.folder = tmp_path / "files"
        self.folder.mkdir()
        self.manifests = Manifests(str(tmp_path / "manifests"))
        self.records = Records(tmp_path / "ledger")
        source = LocalDirectory(str(tmp_path / "images"), self.manifests, "here")
        self.images = BaseImages(str(tmp_path / "instances"), source, self.manifests, True, "here")
        self.fetched: list[str] = []

    @property
    def layer(self) -> DiskLayer:
        return DiskLayer(str(self.folder / "base"), "raw", len(CONTENT), len(CONTENT), sha256=SHA)

    def server(self, name: str) -> Server:
        return Server(name, name, name, 256, 1, 1, None)

    def bringing(self, name: str) -> Bringing:
        plan = MigrationPlan(1, name, self.server(name), "compute1", "here", True)
        return Bringing("here", self.images, self.manifests, self.records.open(plan, "destination"), self._fetch)

    def leave(self, name: str) -> tuple[str, ...]:
        ledger = self.records.get(name)
        assert ledger is not None
        host = Host("test:///default", "here")
        return unmake.unmake(Site(host, None, self.server(name), ledger, manifests=self.manifests))  # type: ignore[arg-type]

    def _fetch(self, source: str, sha256: str, path: str) -> int:
        self.fetched.append(path)
        with completing(path) as part:
            Path(part).write_bytes(CONTENT)
        return len(CONTENT)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Destination:
    monkeypatch.setattr(in_use, "users_of", lambda host, path, but: "")
    return Destination(tmp_path)


def test_a_base_that_is_there_with_the_same_bytes_is_used_and_is_not_ours(here: Destination) -> None:
    Path(here.layer.path).write_bytes(CONTENT)

    assert here.bringing("a").bring(here.layer, None, may_move=True).bytes_brought == 0
    here.leave("a")
    assert here.manifests.recorded(here.layer.path) == SHA

    assert here.fetched == [] and Path(here.layer.path).exists()


def test_a_namesake_with_other_bytes_is_left_alone_and_the_right_one_placed_beside_it(here: Destination) -> None:
    Path(here.layer.path).write_bytes(b"other bytes")

    place = here.bringing("a").bring(here.layer, None, may_move=True)

    assert place.path == f"{here.layer.path}.{SHA[:16]}" and Path(place.path).read_bytes() == CONTENT
    assert Path(here.layer.path).read_bytes() == b"other bytes"
    here.leave("a")
    assert [path.name for path in here.folder.iterdir()] == ["base"]


def test_a_file_that_must_keep_its_name_is_refused_where_another_has_it(here: Destination) -> None:
    Path(here.layer.path).write_bytes(b"other bytes")

    with pytest.raises(StorageError, match="other bytes"):
        here.bringing("a").bring(here.layer, None, may_move=False)
    assert here.fetched == []


def test_migrations_at_the_same_time_bring_a_base_once_and_the_last_takes_it_along(here: Destination) -> None:
    names = ["a", "b", "c"]
    bringing = [here.bringing(name) for name in names]
    threads = [native.threading.Thread(target=one.bring, args=(here.layer, None, True)) for one in bringing]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(here.fetched) == 1
    for name in names:
        assert Path(here.layer.path).exists()
        assert here.leave(name) == ()
    assert list(here.folder.iterdir()) == []


def test_a_base_that_goes_takes_its_manifest_along(here: Destination, tmp_path: Path) -> None:
    here.bringing("a").bring(here.layer, None, may_move=True)
    here.manifests.sha256_of(here.layer.path)
    assert list((tmp_path / "manifests").iterdir())
    here.leave("a")
    assert list((tmp_path / "manifests").iterdir()) == []


def test_a_base_that_another_domain_uses_stays_and_that_is_told(here: Destination, monkeypatch: pytest.MonkeyPatch) -> None:
    here.bringing("a").bring(here.layer, None, may_move=True)
    monkeypatch.setattr(in_use, "users_of", lambda host, path, but: f"domain other uses it, but not {but}")

    (words,) = here.leave("a")

    assert "domain other" in words and "not a" in words
    assert Path(here.layer.path).exists()


def test_a_base_in_the_cache_stays_for_the_next_guest(here: Destination) -> None:
    cached = DiskLayer(str(here.folder / "_base" / "base"), "raw", 1, 1, sha256=SHA)
    here.bringing("a").bring(cached, None, may_move=True)

    assert here.leave("a") == ()

    assert os.listdir(here.folder / "_base") == ["base"]


def test_the_base_of_the_servers_image_is_made_from_that_when_the_bytes_are_the_same(here: Destination, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "id").write_bytes(CONTENT)
    image = ImageRef("id", "raw", len(CONTENT), SHA)
    layer = DiskLayer(here.images.path_of(image), "raw", len(CONTENT), 1, sha256=SHA)

    place = here.bringing("a").bring(layer, image, may_move=True)

    assert here.fetched == [] and Path(place.path).read_bytes() == CONTENT


def test_without_the_image_its_base_comes_from_the_source(here: Destination) -> None:
    image = ImageRef("long-deleted", "raw", len(CONTENT), SHA)
    layer = DiskLayer(here.images.path_of(image), "raw", len(CONTENT), 1, sha256=SHA)

    here.bringing("a").bring(layer, image, may_move=True)

    assert here.fetched == [layer.path]


def described(*disks: GuestDisk, xml: str = "<domain/>") -> GuestDescription:
    return GuestDescription("u", "n", PowerState.RUNNING, 1, 1, disks, persistent=True, xml=xml)


def test_only_what_new_overlays_alone_stand_on_may_have_another_name() -> None:
    top, middle, base = (DiskLayer(path, "qcow2", 1, 1) for path in ("/top", "/middle", "/base"))
    chain = GuestDisk("vda", "disk", "file", readonly=False, layers=(top, middle, base))
    on_base = GuestDisk("vdb", "disk", "file", readonly=False, layers=(top, base))
    medium = GuestDisk("hda", "cdrom", "file", readonly=True, layers=(middle,))

    assert placing.movable(described(chain)) == {"/middle"}
    assert placing.movable(described(on_base)) == {"/base"}
    assert placing.movable(described(chain, on_base)) == {"/middle"}
    assert placing.movable(described(chain, medium)) == set()


def test_a_base_that_the_xml_names_keeps_its_name() -> None:
    layers = tuple(DiskLayer(path, "qcow2", 1, 1) for path in ("/top", "/base"))
    disk = "<disk type='file'><target dev='vda'/><backingStore type='file'/></disk>"
    xml = f"<domain><devices>{disk}</devices></domain>"
    assert placing.movable(described(GuestDisk("vda", "disk", "file", readonly=False, layers=layers), xml=xml)) == set()


def test_what_is_listed_of_a_base_is_its_kind_and_name(here: Destination) -> None:
    here.bringing("a").bring(here.layer, None, may_move=True)
    ledger = here.records.get("a")
    assert ledger is not None and ledger.artefacts() == [Artefact(BASE, here.layer.path)]


def test_what_others_put_beside_a_file_that_was_brought_or_adopted_stays(here: Destination) -> None:
    here.bringing("a").bring(here.layer, None, may_move=True)
    own = here.folder / "own.qcow2"
    own.write_bytes(b"x")
    ledger = here.records.get("a")
    assert ledger is not None
    with ledger.entry(ADOPTED, str(own)):
        pass
    foreign = [*cache.scratch_names(here.layer.path), *cache.scratch_names(str(own)), f"{own}.part"]
    for path in foreign:
        Path(path).write_text("somebody's")

    here.leave("a")

    assert sorted(map(str, here.folder.iterdir())) == sorted(foreign)


def test_what_a_crash_left_beside_a_file_goes_when_the_file_is_found_whole(here: Destination) -> None:
    bringing, notes = here.bringing("a"), Path(here.layer.path + cache.NOTES_SUFFIX)
    ledger = here.records.get("a")
    assert ledger is not None
    with ledger.entry(BASE, here.layer.path), ledger.entry(SCRATCH, here.layer.path):
        Path(here.layer.path).write_bytes(CONTENT)
        notes.write_text("{}")

    bringing.bring(here.layer, None, may_move=True)

    assert not notes.exists() and ledger.artefacts() == [Artefact(BASE, here.layer.path)]


def test_what_is_left_of_a_file_that_could_not_be_brought_goes_at_once(here: Destination) -> None:
    bringing, ledger = here.bringing("a"), here.records.get("a")
    assert ledger is not None

    def fail(source: str, sha256: str, path: str) -> int:
        Path(path + cache.PART_SUFFIX).write_text("half")
        raise StorageError(host="here", action="fetch", reason="it was cut off")

    bringing._fetch = fail

    assert not bringing.bring_now(here.layer)
    assert list(here.folder.iterdir()) == [] and ledger.artefacts() == []


def test_a_file_of_an_adopted_guest_stays_when_another_was_built_on_it(here: Destination, monkeypatch: pytest.MonkeyPatch) -> None:
    own, ledger = here.folder / "own.qcow2", here.records.of_server("a")
    site = Site(Host("test:///default", "here"), None, here.server("a"), ledger)  # type: ignore[arg-type]
    own.write_bytes(b"x")
    for users, left in (("domain clone uses it", True), ("", False)):
        monkeypatch.setattr(in_use, "users_of", lambda host, path, but, users=users: users)
        with ledger.entry(ADOPTED, str(own)):
            pass
        assert bool(unmake.unmake(site)) == left
        assert own.exists() == left
