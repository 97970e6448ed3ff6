"""The embedded backend, with a tgtd that remembers what it was told."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Iterable, Mapping

import pytest
from oslo_config import cfg

from nova_blockmigrate import conf as configuration
from nova_blockmigrate import exceptions
from nova_blockmigrate.volume import api
from nova_blockmigrate.volume.api import Connector
from nova_blockmigrate.volume.embedded import GIB, EmbeddedBackend, iqn_of
from nova_blockmigrate.volume.tgt import Target

ONE, TWO = Connector("compute1", "10.0.0.1", "iqn.x:compute1"), Connector("compute2", "10.0.0.2", "iqn.x:compute2")
SERVER = "6e783272-31b5-4fdc-8828-2b8892daab39"


class FakeTgtd:
    """As `tgt.Tgtd`. Fails at the method named in `broken`."""

    def __init__(self) -> None:
        self.served: dict[str, Target] = {}
        self.passwords: dict[str, str] = {}
        self.broken = ""

    def targets(self) -> dict[str, Target]:
        return dict(self.served)

    def serve(self, iqn: str, path: str) -> Target:
        self._come_to("serve")
        return self.served.setdefault(iqn, Target(len(self.served) + 1, iqn, (path,)))

    def allow(self, target: Target, initiators: Iterable[str]) -> None:
        self._come_to("allow")
        self.served[target.iqn] = dataclasses.replace(self.served[target.iqn], initiators=frozenset(initiators))

    def require(self, target: Target, accounts: Mapping[str, str], prefix: str) -> None:
        self._come_to("require")
        self.served[target.iqn] = dataclasses.replace(self.served[target.iqn], accounts=tuple(accounts))
        self.passwords = {user: known for user, known in self.passwords.items() if not user.startswith(prefix)} | accounts

    def forget_accounts(self, prefix: str) -> None:
        self.passwords = {user: known for user, known in self.passwords.items() if not user.startswith(prefix)}

    def stop_serving(self, iqn: str) -> None:
        self._come_to("stop_serving")
        self.served.pop(iqn, None)

    def _come_to(self, method: str) -> None:
        if self.broken == method:
            raise exceptions.VolumeBackendError(backend="embedded", action=method, reason="broken by the test")


@pytest.fixture
def backend(tmp_path: pathlib.Path) -> EmbeddedBackend:
    conf = cfg.ConfigOpts()
    configuration.register(conf)
    conf([], default_config_files=[])
    conf.set_override("directory", str(tmp_path / "volumes"), group="embedded_volume")
    conf.set_override("my_ip", "192.0.2.9")
    backend = api.load_backend(conf)
    assert isinstance(backend, EmbeddedBackend)
    backend._tgtd = FakeTgtd()  # type: ignore[assignment]
    return backend


def allowed(backend: EmbeddedBackend, volume_id: str) -> set[str]:
    target = backend._tgtd.targets().get(iqn_of(volume_id))
    return set(target.initiators) if target else set()


def test_a_volume_has_an_owner_and_may_change_hands(backend: EmbeddedBackend) -> None:
    volume = backend.create("data", 1, project_id="demo")
    assert backend.get(volume.id) == volume
    backend.give_to(volume.id, "other")
    assert backend.get(volume.id) == dataclasses.replace(volume, project_id="other")
    with pytest.raises(exceptions.VolumeNotFound):
        backend.give_to("nothing", "other")


def test_a_volume_from_before_there_were_owners_is_nobodys(backend: EmbeddedBackend, tmp_path: pathlib.Path) -> None:
    volume = backend.create("data", 1, project_id="demo")
    (tmp_path / "volumes" / volume.id / "volume.json").write_text('{"name": "data", "size_gib": 1}')
    assert not backend.get(volume.id).belongs_to("demo")


def test_a_volume_is_a_sparse_file_that_only_its_owner_reads(backend: EmbeddedBackend, tmp_path: pathlib.Path) -> None:
    volume = backend.create("data", 2)
    file = tmp_path / "volumes" / volume.id / "disk"
    assert (file.stat().st_size, file.stat().st_blocks) == (2 * GIB, 0)
    assert (tmp_path / "volumes").stat().st_mode & 0o077 == 0
    assert (backend.get(volume.id), backend.search()) == (volume, [volume])
    with pytest.raises(exceptions.NameInUse):
        backend.create("data", 1)


def test_one_host_gets_in_then_a_second_then_only_the_second(backend: EmbeddedBackend) -> None:
    id = backend.create("data", 1).id
    given = backend.create_attachment(id, SERVER, ONE, ())
    where = {"target_iqn": iqn_of(id), "target_portal": "192.0.2.9:3260", "target_lun": 1}
    assert {name: given.data[name] for name in where} == where
    assert allowed(backend, id) == {"iqn.x:compute1"}
    backend.create_attachment(id, SERVER, TWO, ())
    assert allowed(backend, id) == {"iqn.x:compute1", "iqn.x:compute2"}
    backend.delete_attachment(id, SERVER, "compute1", None, ())
    assert (allowed(backend, id), backend.hosts(id)) == ({"iqn.x:compute2"}, ["compute2"])


def test_each_attachment_has_a_password_of_its_own_which_goes_with_it(backend: EmbeddedBackend, tmp_path: pathlib.Path) -> None:
    id = backend.create("data", 1).id
    one, two = (backend.create_attachment(id, SERVER, host, ()).data for host in (ONE, TWO))
    passwords = backend._tgtd.passwords  # type: ignore[attr-defined]
    assert one["auth_method"] == "CHAP"
    assert passwords == {each["auth_username"]: each["auth_password"] for each in (one, two)}
    assert len(passwords) == len(set(passwords.values())) == 2
    assert min(map(len, passwords.values())) >= 12
    assert all(file.stat().st_mode & 0o077 == 0 for file in (tmp_path / "volumes" / id / "attachments").iterdir())

    backend.delete_attachment(id, SERVER, "compute1", None, ())
    assert list(backend._tgtd.passwords) == [two["auth_username"]]  # type: ignore[attr-defined]
    backend.delete_attachment(id, SERVER, "compute2", None, ())
    assert backend._tgtd.passwords == {}  # type: ignore[attr-defined]


def test_a_password_is_in_no_text_of_an_attachment(backend: EmbeddedBackend) -> None:
    given = backend.create_attachment(backend.create("data", 1).id, SERVER, ONE, ())
    assert given.data["auth_password"] not in f"{given} {backend._rights(backend._folder(backend.search()[0].id))}"


def test_while_a_host_has_a_right_without_password_nobody_is_asked_for_one(backend: EmbeddedBackend) -> None:
    """As after an upgrade, while a guest is logged in."""
    id = backend.create("data", 1).id
    backend._chap = False
    assert "auth_username" not in backend.create_attachment(id, SERVER, ONE, ()).data
    backend._chap = True
    two = backend.create_attachment(id, SERVER, TWO, ()).data
    assert backend._tgtd.targets()[iqn_of(id)].accounts == ()
    backend.delete_attachment(id, SERVER, "compute1", None, ())
    assert backend._tgtd.targets()[iqn_of(id)].accounts == (two["auth_username"],)


def test_after_the_last_host_nothing_is_served(backend: EmbeddedBackend) -> None:
    id = backend.create("data", 1).id
    backend.create_attachment(id, SERVER, ONE, ())
    backend.delete_attachment(id, SERVER, "compute1", None, ())
    backend.delete_attachment(id, SERVER, "compute1", None, ())
    assert backend._tgtd.targets() == {}


def test_an_attachment_made_twice_is_the_same_one(backend: EmbeddedBackend) -> None:
    id = backend.create("data", 1).id
    assert backend.create_attachment(id, SERVER, ONE, ()) == backend.create_attachment(id, SERVER, ONE, ())
    assert backend.hosts(id) == ["compute1"]


def test_a_volume_is_not_given_to_a_second_server(backend: EmbeddedBackend) -> None:
    id = backend.create("data", 1).id
    backend.create_attachment(id, SERVER, ONE, ())
    with pytest.raises(exceptions.InvalidVolume, match=SERVER):
        backend.create_attachment(id, "another", TWO, ())
    assert allowed(backend, id) == {"iqn.x:compute1"}


@pytest.mark.parametrize("broken", ["serve", "require", "allow"])
def test_what_could_not_be_served_is_served_when_it_is_asked_for_again(backend: EmbeddedBackend, broken: str) -> None:
    id = backend.create("data", 1).id
    backend._tgtd.broken = broken  # type: ignore[attr-defined]
    with pytest.raises(exceptions.VolumeBackendError):
        backend.create_attachment(id, SERVER, ONE, ())
    backend._tgtd.broken = ""  # type: ignore[attr-defined]
    backend.create_attachment(id, SERVER, ONE, ())
    assert allowed(backend, id) == {"iqn.x:compute1"}


def test_a_right_that_could_not_be_ended_is_still_on_record(backend: EmbeddedBackend) -> None:
    id = backend.create("data", 1).id
    backend.create_attachment(id, SERVER, ONE, ())
    backend._tgtd.broken = "stop_serving"  # type: ignore[attr-defined]
    with pytest.raises(exceptions.VolumeBackendError):
        backend.delete_attachment(id, SERVER, "compute1", None, ())
    assert backend.hosts(id) == ["compute1"]
    backend._tgtd.broken = ""  # type: ignore[attr-defined]
    backend.delete_attachment(id, SERVER, "compute1", None, ())
    assert backend.hosts(id) == []


def test_a_tgtd_that_has_forgotten_is_told_again(backend: EmbeddedBackend) -> None:
    used, unused = backend.create("data", 1).id, backend.create("spare", 1).id
    backend.create_attachment(used, SERVER, ONE, ())
    backend._tgtd = FakeTgtd()  # type: ignore[assignment]
    backend.restore()
    assert (allowed(backend, used), allowed(backend, unused)) == ({"iqn.x:compute1"}, set())


def test_a_tgtd_that_lets_others_in_is_put_right(backend: EmbeddedBackend) -> None:
    id = backend.create("data", 1).id
    backend.create_attachment(id, SERVER, ONE, ())
    backend._tgtd.allow(backend._tgtd.targets()[iqn_of(id)], {"iqn.x:intruder"})
    backend.restore()
    assert allowed(backend, id) == {"iqn.x:compute1"}


def test_only_a_volume_that_nobody_uses_is_deleted(backend: EmbeddedBackend, tmp_path: pathlib.Path) -> None:
    id = backend.create("data", 1).id
    backend.create_attachment(id, SERVER, ONE, ())
    with pytest.raises(exceptions.InvalidVolume, match="compute1"):
        backend.delete_volume(id)
    backend.delete_attachment(id, SERVER, "compute1", None, ())
    backend.delete_volume(id)
    backend.delete_volume(id)
    assert not (tmp_path / "volumes" / id).exists()


@pytest.mark.parametrize("id", ["../../etc", "no-such", ".lock", ""])
def test_what_is_no_volume_is_not_found(backend: EmbeddedBackend, id: str) -> None:
    backend.create("data", 1)
    with pytest.raises(exceptions.VolumeNotFound):
        backend.get(id)


def test_a_backend_that_does_not_exist_is_refused_at_start(backend: EmbeddedBackend) -> None:
    backend.conf.set_override("backend", "cloud9", group="volume")
    with pytest.raises(exceptions.ConfigurationError, match="cloud9"):
        api.load_backend(backend.conf)
