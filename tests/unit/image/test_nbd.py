"""Base files from host to host: whole and verified or not there at all, sparse, encrypted when configured, within the limit."""

from __future__ import annotations

import datetime
import functools
import hashlib
import ipaddress
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from nova_blockmigrate.concurrency import native
from nova_blockmigrate.exceptions import StorageError
from nova_blockmigrate.image import nbd
from nova_blockmigrate.image.cache import NOTES_SUFFIX, PART_SUFFIX
from nova_blockmigrate.image.manifest import Manifests
from nova_blockmigrate.image.nbd import Exchange
from nova_blockmigrate.image.partial import Partial, Range, ranges_of
from nova_blockmigrate.threads import in_parallel

pytestmark = pytest.mark.skipif(not shutil.which("qemu-nbd") or not shutil.which("setpriv"), reason="qemu-nbd is not installed")
MIB = 1024**2


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """8 MiB, of which the second is not zero."""
    path = tmp_path / "base"
    with path.open("wb") as file:
        file.seek(MIB)
        file.write(os.urandom(MIB))
        file.truncate(8 * MIB)
    return path


@pytest.fixture
def there(tmp_path: Path) -> Path:
    (tmp_path / "there").mkdir()
    return tmp_path / "there" / "base"


@pytest.fixture
def exchange(tmp_path: Path) -> Exchange:
    return Exchange("localhost", Manifests(str(tmp_path / "manifests")))


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_base_arrives_verified_and_sparse(exchange: Exchange, base: Path, there: Path) -> None:
    with exchange.serve(str(base), "127.0.0.1") as uri:
        fetched = exchange.fetch(uri, sha256(base), str(there))
    assert there.read_bytes() == base.read_bytes()
    assert fetched == there.stat().st_blocks * 512 <= base.stat().st_blocks * 512 * 1.05
    assert exchange.manifests.recorded(str(there)) == sha256(base)


@pytest.mark.parametrize("size_bytes", [1, 511, 513, 70_001])
def test_a_file_of_any_length_arrives_with_it(exchange: Exchange, tmp_path: Path, there: Path, size_bytes: int) -> None:
    odd = tmp_path / "odd"
    odd.write_bytes(os.urandom(size_bytes))
    with exchange.serve(str(odd), "127.0.0.1") as uri:
        exchange.fetch(uri, sha256(odd), str(there))
    assert there.read_bytes() == odd.read_bytes()


def test_other_bytes_than_asked_for_are_not_kept(exchange: Exchange, base: Path, there: Path) -> None:
    with exchange.serve(str(base), "127.0.0.1") as uri, pytest.raises(StorageError, match="expected"):
        exchange.fetch(uri, "0" * 64, str(there))
    assert list(there.parent.iterdir()) == []


def test_nobody_else_can_have_the_port_before_qemu_starts(exchange: Exchange, base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[str] = []

    def start(command: list[str], stdin: int, **options: Any) -> subprocess.Popen[bytes]:
        with socket.socket(fileno=os.dup(stdin)) as listener, pytest.raises(OSError, match="in use"):
            socket.create_server(listener.getsockname())
        taken.extend(command)
        return popen(command, stdin=stdin, **options)

    popen = subprocess.Popen
    monkeypatch.setattr(nbd.subprocess, "Popen", start)
    with exchange.serve(str(base), "127.0.0.1"):
        assert "qemu-nbd" in taken


def test_exports_at_the_same_time_each_serve_their_own_file(exchange: Exchange, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    files = [tmp_path / f"file{number}" for number in range(4)]
    for file in files:
        file.write_bytes(os.urandom(4096))

    def send(file: Path) -> None:
        with exchange.serve(str(file), "127.0.0.1") as uri:
            exchange.fetch(uri, sha256(file), str(tmp_path / "there" / file.name))

    in_parallel([functools.partial(send, file) for file in files])

    assert all((tmp_path / "there" / file.name).read_bytes() == file.read_bytes() for file in files)


def test_a_server_that_cannot_start_says_so(tmp_path: Path, base: Path) -> None:
    without_certificates = Exchange("localhost", Manifests(str(tmp_path / "manifests")), tls=True, pki=str(tmp_path / "nowhere"))
    with pytest.raises(StorageError, match="status 1"), without_certificates.serve(str(base), "127.0.0.1"):
        pass


def test_serving_ends_with_its_context(exchange: Exchange, base: Path, there: Path) -> None:
    with exchange.serve(str(base), "127.0.0.1") as uri:
        pass
    with pytest.raises(StorageError):
        exchange.fetch(uri, "0" * 64, str(there))


def test_serving_ends_when_nobody_is_there_for_long(exchange: Exchange, base: Path, there: Path) -> None:
    with exchange.serve(str(base), "127.0.0.1", idle_limit_s=0.2) as uri:
        deadline = time.monotonic() + 30
        while not refused(exchange, uri, there):
            assert time.monotonic() < deadline, "it is served still"


def refused(exchange: Exchange, uri: str, there: Path) -> bool:
    """Whether nobody answers at the URI. Asks seldom enough not to be the one who keeps it awake."""
    native.threading.Event().wait(0.5)
    try:
        exchange.fetch(uri, "0" * 64, str(there))
    except StorageError as error:
        return "refused" in error.message
    return False


def test_a_file_that_is_not_there_cannot_be_served(exchange: Exchange, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="gone"), exchange.serve(str(tmp_path / "gone"), "127.0.0.1"):
        pass


def test_a_copy_that_is_cut_off_leaves_nothing_of_the_name_and_may_be_tried_again(tmp_path: Path, base: Path, there: Path) -> None:
    slow = Exchange("localhost", Manifests(str(tmp_path / "manifests")), limit_bytes_s=4 * MIB)
    failures: list[StorageError] = []

    def copy(uri: str) -> None:
        try:
            slow.fetch(uri, sha256(base), str(there))
        except StorageError as error:
            failures.append(error)

    with base.open("r+b") as file:
        file.write(os.urandom(48 * MIB))  # more than QEMU lets pass before its limit begins to count
    with slow.serve(str(base), "127.0.0.1") as uri:
        thread = native.threading.Thread(target=copy, args=(uri,))
        thread.start()
        part = Path(f"{there}{PART_SUFFIX}")
        while not part.exists() or not part.stat().st_blocks:
            assert thread.is_alive(), failures or "it was not slow"
    thread.join()
    assert failures and not there.exists()

    fast = Exchange("localhost", slow.manifests)
    with fast.serve(str(base), "127.0.0.1") as uri:
        fast.fetch(uri, sha256(base), str(there))
    assert there.read_bytes() == base.read_bytes()
    assert list(there.parent.iterdir()) == [there]


class Cut(Exception):
    """The service dies."""


@pytest.fixture
def cut_after(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Has a fetch end after that many of its ranges (of one MiB) are there."""
    monkeypatch.setattr(nbd, "RANGE_BYTES", MIB)

    def cut(ranges: int) -> None:
        left = [ranges]

        def reached(name: str) -> None:
            left[0] -= 1
            if left[0] == 0:
                raise Cut

        monkeypatch.setattr(nbd.breakpoints, "reached", reached)

    return cut


def fill(base: Path, mib: int) -> None:
    with base.open("r+b") as file:
        file.write(os.urandom(mib * MIB))


def test_the_second_try_brings_only_the_rest(exchange: Exchange, base: Path, there: Path, cut_after: Callable[[int], None]) -> None:
    fill(base, 6)
    whole, wanted = base.read_bytes(), sha256(base)
    cut_after(4)
    with exchange.serve(str(base), "127.0.0.1") as uri, pytest.raises(Cut):
        exchange.fetch(uri, wanted, str(there))
    assert not there.exists()
    with base.open("r+b") as file:
        file.write(bytes(4 * MIB))  # whoever reads them again gets them wrong

    with exchange.serve(str(base), "127.0.0.1") as uri:
        exchange.fetch(uri, wanted, str(there))

    assert there.read_bytes() == whole
    assert list(there.parent.iterdir()) == [there]


def test_what_was_brought_and_is_wrong_is_brought_anew(
    exchange: Exchange, base: Path, there: Path, cut_after: Callable[[int], None]
) -> None:
    fill(base, 6)
    cut_after(4)
    with exchange.serve(str(base), "127.0.0.1") as uri:
        with pytest.raises(Cut):
            exchange.fetch(uri, sha256(base), str(there))
        with Path(f"{there}{PART_SUFFIX}").open("r+b") as file:
            file.write(b"spoilt")
        exchange.fetch(uri, sha256(base), str(there))
    assert there.read_bytes() == base.read_bytes()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda part, notes: part.unlink(),
        lambda part, notes: (part.unlink(), notes.write_text("nonsense\n")),
        lambda part, notes: notes.write_text(notes.read_text().replace('"sha256": "', '"sha256": "0')),
    ],
    ids=["no bytes", "nonsense", "another file's"],
)
def test_without_good_notes_it_begins_anew(
    exchange: Exchange, base: Path, there: Path, cut_after: Callable[[int], None], spoil: Callable[[Path, Path], None]
) -> None:
    cut_after(1)
    with exchange.serve(str(base), "127.0.0.1") as uri:
        with pytest.raises(Cut):
            exchange.fetch(uri, sha256(base), str(there))
        spoil(Path(f"{there}{PART_SUFFIX}"), Path(f"{there}{NOTES_SUFFIX}"))
        exchange.fetch(uri, sha256(base), str(there))
    assert there.read_bytes() == base.read_bytes()
    assert list(there.parent.iterdir()) == [there]


@pytest.mark.parametrize("notes", [None, "nonsense\n", '{"a": 1}\n'])
def test_a_file_of_that_name_that_somebody_else_made_is_refused_and_left_alone(
    exchange: Exchange, base: Path, there: Path, notes: str | None
) -> None:
    part = Path(f"{there}{PART_SUFFIX}")
    part.write_text("somebody's")
    if notes is not None:
        Path(f"{there}{NOTES_SUFFIX}").write_text(notes)

    with exchange.serve(str(base), "127.0.0.1") as uri, pytest.raises(StorageError, match="move it away"):
        exchange.fetch(uri, sha256(base), str(there))

    assert part.read_text() == "somebody's" and not there.exists()


def test_a_note_that_a_crash_cut_off_is_as_none(tmp_path: Path) -> None:
    partial = Partial(str(tmp_path / "base"), "0" * 64, 3 * MIB)
    assert partial.begin() == frozenset()
    partial.note(Range(0, MIB))
    with (tmp_path / f"base{NOTES_SUFFIX}").open("ab") as file:
        file.write(b"[1048576, 10")
    again = Partial(str(tmp_path / "base"), "0" * 64, 3 * MIB)
    assert again.begin() == {Range(0, MIB)}
    again.note(Range(MIB, MIB))
    assert Partial(str(tmp_path / "base"), "0" * 64, 3 * MIB).begin() == {Range(0, MIB), Range(MIB, MIB)}


@pytest.mark.parametrize(
    "extents, ranges",
    [
        ([], []),
        ([(0, 4096, False)], []),
        ([(0, 1, True)], [Range(0, 512)]),
        ([(0, 4096, True), (4096, 4096, False), (8192, 100, True)], [Range(0, 8704)]),
        ([(0, 4096, True), (4096, MIB, False), (4096 + MIB, 512, True)], [Range(0, 4096), Range(4096 + MIB, 512)]),
        ([(0, 5 * MIB // 2, True)], [Range(0, MIB), Range(MIB, MIB), Range(2 * MIB, MIB // 2)]),
        ([(0, MIB // 2, True), (MIB // 2, MIB, True)], [Range(0, MIB // 2), Range(MIB // 2, MIB)]),
        ([(MIB, 700, True), (MIB + 700, 10, True)], [Range(MIB, 1024)]),
    ],
)
def test_ranges_hold_all_that_is_not_zero_in_pieces_of_a_limited_length(
    extents: list[tuple[int, int, bool]], ranges: list[Range]
) -> None:
    assert list(ranges_of(extents, MIB)) == ranges


def test_the_limit_of_bandwidth_is_kept(tmp_path: Path, base: Path, there: Path) -> None:
    limited = Exchange("localhost", Manifests(str(tmp_path / "manifests")), limit_bytes_s=MIB)
    with base.open("r+b") as file:
        file.write(os.urandom(4 * MIB))
    started = time.monotonic()
    with limited.serve(str(base), "127.0.0.1") as uri:
        limited.fetch(uri, sha256(base), str(there))
    assert time.monotonic() - started > 2  # 4 MiB at 1 MiB/s; QEMU lets the first ones pass


class TestEncrypted:
    @pytest.fixture
    def encrypted(self, tmp_path: Path) -> Exchange:
        make_certificates(tmp_path / "pki", "localhost")
        return Exchange("localhost", Manifests(str(tmp_path / "manifests")), tls=True, pki=str(tmp_path / "pki"))

    def test_a_base_arrives(self, encrypted: Exchange, base: Path, there: Path) -> None:
        with encrypted.serve(str(base), "127.0.0.1") as uri:
            assert uri.startswith("nbds://")
            encrypted.fetch(uri, sha256(base), str(there))
        assert there.read_bytes() == base.read_bytes()

    def test_a_server_with_another_name_is_not_believed(self, encrypted: Exchange, base: Path, there: Path) -> None:
        with encrypted.serve(str(base), "127.0.0.1") as uri, pytest.raises(StorageError):
            encrypted.fetch(uri.replace("localhost", "elsewhere"), sha256(base), str(there))

    def test_a_stranger_without_a_certificate_gets_nothing(
        self, tmp_path: Path, encrypted: Exchange, base: Path, there: Path
    ) -> None:
        make_certificates(tmp_path / "strange", "localhost")
        stranger = Exchange("localhost", encrypted.manifests, tls=True, pki=str(tmp_path / "strange"))
        with encrypted.serve(str(base), "127.0.0.1") as uri, pytest.raises(StorageError):
            stranger.fetch(uri, sha256(base), str(there))

    def test_hosts_that_are_set_up_unlike_say_so(self, encrypted: Exchange, exchange: Exchange, base: Path, there: Path) -> None:
        with exchange.serve(str(base), "127.0.0.1") as uri, pytest.raises(StorageError, match="native_tls"):
            encrypted.fetch(uri, sha256(base), str(there))


def make_certificates(directory: Path, name: str) -> None:
    """An authority of its own, a server's and a client's certificate, as QEMU looks for them."""
    directory.mkdir()
    ca_key, keys = ec.generate_private_key(ec.SECP256R1()), {}
    ca = certificate("authority", ca_key, "authority", ca_key, is_authority=True)
    (directory / "ca-cert.pem").write_bytes(ca.public_bytes(serialization.Encoding.PEM))
    for role in ("server", "client"):
        keys[role] = ec.generate_private_key(ec.SECP256R1())
        signed = certificate(name, keys[role], "authority", ca_key)
        (directory / f"{role}-cert.pem").write_bytes(signed.public_bytes(serialization.Encoding.PEM))
        (directory / f"{role}-key.pem").write_bytes(
            keys[role].private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        )


def certificate(
    subject: str, key: ec.EllipticCurvePrivateKey, issuer: str, issuer_key: ec.EllipticCurvePrivateKey, is_authority: bool = False
) -> x509.Certificate:
    now = datetime.datetime.now(datetime.UTC)
    names = [x509.NameAttribute(x509.NameOID.COMMON_NAME, each) for each in (subject, issuer)]
    builder = x509.CertificateBuilder(x509.Name(names[1:]), x509.Name(names[:1]), key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(now + datetime.timedelta(days=1))
    builder = builder.add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
    if not is_authority:
        alternatives = x509.SubjectAlternativeName([x509.DNSName(subject), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
        builder = builder.add_extension(alternatives, critical=False)
    return builder.sign(issuer_key, hashes.SHA256())
