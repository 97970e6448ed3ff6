"""What is read of the certificates that a host has for TLS."""

from __future__ import annotations

import pathlib
from collections.abc import Callable

import pki
import pytest

from nova_blockmigrate.survey import Certificate, CertificateRole
from nova_blockmigrate.virt.libvirt import certificates

AUTHORITY = pki.Authority()


@pytest.fixture
def folder(tmp_path: pathlib.Path) -> pathlib.Path:
    """What QEMU reads, below the folder of all certificates."""
    pki.equip(tmp_path / "qemu", AUTHORITY, "compute2")
    return tmp_path / "qemu"


def of_qemu(folder: pathlib.Path, conf: str = "") -> dict[CertificateRole, Certificate]:
    path = folder.parent / "qemu.conf"
    path.write_text(conf)
    return {one.role: one for one in certificates.of_qemu(folder.parent, path)}


def test_a_healthy_set_has_no_problem_and_one_signer(folder: pathlib.Path) -> None:
    found = of_qemu(folder)

    server, client, authority = (
        found[role] for role in (CertificateRole.SERVER, CertificateRole.CLIENT, CertificateRole.AUTHORITY)
    )
    assert {one.problem for one in found.values()} == {""}
    assert server.names == ("compute2",) and server.asks_clients
    assert 365 * 86400 < server.not_after_s - server.not_before_s < 367 * 86400
    assert (server.signer,) == (client.signer,) == authority.authorities


BREAKING: list[tuple[CertificateRole, Callable[[pathlib.Path], object], str]] = [
    (CertificateRole.SERVER, lambda it: (it / "server-cert.pem").unlink(), "it is missing"),
    (CertificateRole.SERVER, lambda it: (it / "server-cert.pem").write_text("no certificate"), "PEM"),
    (CertificateRole.SERVER, lambda it: (it / "server-key.pem").unlink(), "server-key.pem is missing"),
    (CertificateRole.SERVER, lambda it: (it / "server-key.pem").write_text("no key"), "server-key.pem: "),
    (CertificateRole.SERVER, lambda it: (it / "client-key.pem").replace(it / "server-key.pem"), "does not belong to it"),
    (CertificateRole.CLIENT, lambda it: (it / "client-cert.pem").unlink(), "it is missing"),
    (CertificateRole.CLIENT, lambda it: pki.write(it / "ca-cert.pem", pki.Authority().certificate), "not signed by the authority"),
    (CertificateRole.AUTHORITY, lambda it: (it / "ca-cert.pem").unlink(), "it is missing"),
]


@pytest.mark.parametrize(("role", "breaks", "words"), BREAKING)
def test_what_qemu_would_refuse_is_told(
    folder: pathlib.Path, role: CertificateRole, breaks: Callable[[pathlib.Path], object], words: str
) -> None:
    breaks(folder)

    assert words in of_qemu(folder)[role].problem


def test_a_certificate_between_leads_to_the_authority(folder: pathlib.Path) -> None:
    between = pki.Authority("between", AUTHORITY)
    certificate, key = between.sign("compute2", ("compute2",))
    pki.write(folder / "server-cert.pem", certificate, between.certificate)
    pki.write_key(folder / "server-key.pem", key)

    found = of_qemu(folder)

    assert found[CertificateRole.SERVER].problem == ""
    assert found[CertificateRole.SERVER].signer == found[CertificateRole.CLIENT].signer


@pytest.mark.parametrize(
    ("conf", "asks"),
    [
        ("", True),
        ("default_tls_x509_verify = 0\n", False),
        ("default_tls_x509_verify = 0\nmigrate_tls_x509_verify = 1\n", True),
        ("#migrate_tls_x509_verify = 0\n", True),
    ],
)
def test_qemu_conf_says_whether_clients_are_asked(folder: pathlib.Path, conf: str, asks: bool) -> None:
    assert of_qemu(folder, conf)[CertificateRole.SERVER].asks_clients is asks


def test_qemu_conf_says_where_the_certificates_are(folder: pathlib.Path) -> None:
    other = folder.parent / "elsewhere"
    folder.rename(other)
    assert of_qemu(folder, f'default_tls_x509_cert_dir = "{other}"\n')[CertificateRole.SERVER].problem == ""

    (folder.parent / "libvirt-migrate").mkdir()
    found = of_qemu(folder, f'default_tls_x509_cert_dir = "{other}"\n')[CertificateRole.SERVER]
    assert (found.path, found.problem) == (str(folder.parent / "libvirt-migrate/server-cert.pem"), "it is missing")


def test_libvirts_own_are_where_its_configuration_says(tmp_path: pathlib.Path) -> None:
    conf, mine = tmp_path / "libvirtd.conf", tmp_path / "mine.pem"
    conf.write_text(f'cert_file = "{mine}"\ntls_no_verify_certificate = 1\n')

    found = {one.role: one for one in certificates.of_libvirt(tmp_path, [conf])}

    assert (found[CertificateRole.SERVER].path, found[CertificateRole.SERVER].asks_clients) == (str(mine), False)
    assert found[CertificateRole.CLIENT].path == str(tmp_path / "libvirt/clientcert.pem")
