"""The X.509 certificates that libvirt and QEMU read for TLS, where they read them. Reads only.

What makes QEMU or libvirt refuse them is looked at here as far as one host can see it: files and keys that are missing or do
not belong together, authorities that did not sign. What needs both hosts is judged by the check.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nova_blockmigrate.survey import Certificate, CertificateRole, TlsUser
from nova_blockmigrate.virt.libvirt import daemon_conf

PKI = Path("/etc/pki")


@dataclasses.dataclass(frozen=True)
class _Files:
    """Where one user of TLS has its files."""

    user: TlsUser
    authority: Path
    server: Path
    server_key: Path
    client: Path
    client_key: Path
    asks_clients: bool


def survey(pki: Path = PKI) -> tuple[Certificate, ...]:
    """All that this host has for TLS, or would need."""
    return (*of_libvirt(pki), *of_qemu(pki))


def of_libvirt(pki: Path = PKI, confs: Sequence[Path] = (daemon_conf.VIRTPROXYD, daemon_conf.LIBVIRTD)) -> tuple[Certificate, ...]:
    """For qemu+tls:// between the daemons."""
    settings = {name: value for conf in confs for name, value in daemon_conf.read(conf).items()}
    files = _Files(
        TlsUser.LIBVIRT,
        authority=Path(settings.get("ca_file") or pki / "CA/cacert.pem"),
        server=Path(settings.get("cert_file") or pki / "libvirt/servercert.pem"),
        server_key=Path(settings.get("key_file") or pki / "libvirt/private/serverkey.pem"),
        client=pki / "libvirt/clientcert.pem",
        client_key=pki / "libvirt/private/clientkey.pem",
        asks_clients=settings.get("tls_no_verify_certificate", "0") == "0",
    )
    return _read_all(files)


def of_qemu(pki: Path = PKI, conf: Path = daemon_conf.QEMU) -> tuple[Certificate, ...]:
    """For QEMU's own TLS of memory and disks: in the first of the folders that libvirt would choose."""
    settings = daemon_conf.read(conf)
    usual = pki / "libvirt-migrate"
    folder = settings.get("migrate_tls_x509_cert_dir") or (str(usual) if usual.is_dir() else "")
    where = Path(folder or settings.get("default_tls_x509_cert_dir") or pki / "qemu")
    verify = settings.get("migrate_tls_x509_verify") or settings.get("default_tls_x509_verify") or "1"
    files = _Files(
        TlsUser.QEMU,
        authority=where / "ca-cert.pem",
        server=where / "server-cert.pem",
        server_key=where / "server-key.pem",
        client=where / "client-cert.pem",
        client_key=where / "client-key.pem",
        asks_clients=verify != "0",
    )
    return _read_all(files)


def _read_all(files: _Files) -> tuple[Certificate, ...]:
    authorities, problem = _load(files.authority)
    authority = _described(Certificate(str(files.authority), problem, user=files.user), authorities)
    authority = dataclasses.replace(
        authority, role=CertificateRole.AUTHORITY, authorities=tuple(_fingerprint(each) for each in authorities)
    )
    server = _read(files.server, files.server_key, files, authorities, CertificateRole.SERVER)
    client = _read(files.client, files.client_key, files, authorities, CertificateRole.CLIENT)
    return authority, dataclasses.replace(server, asks_clients=files.asks_clients), client


def _read(path: Path, key: Path, files: _Files, authorities: list[Any], role: CertificateRole) -> Certificate:
    chain, problem = _load(path)
    read = _described(Certificate(str(path), problem, user=files.user, role=role), chain)
    if problem:
        return read
    signer = _signer(chain, authorities)
    if authorities and signer is None:
        problem = f"it is not signed by the authority in {files.authority}"
    return dataclasses.replace(
        read, problem=_key_problem(chain[0], key) or problem, signer=_fingerprint(signer) if signer is not None else ""
    )


def _load(path: Path) -> tuple[list[Any], str]:
    """(the certificates of a file, the first being its subject's; why there are none)"""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return [], "it is missing"
    except OSError as error:
        return [], str(error)
    from cryptography import x509  # takes a tenth of a second, and most hosts have no certificates to read

    try:
        return list(x509.load_pem_x509_certificates(content)), ""
    except ValueError as error:
        return [], str(error)


def _described(bare: Certificate, chain: list[Any]) -> Certificate:
    if not chain:
        return bare
    first = chain[0]
    return dataclasses.replace(
        bare,
        names=_names(first),
        not_before_s=first.not_valid_before_utc.timestamp(),
        not_after_s=first.not_valid_after_utc.timestamp(),
    )


def _signer(chain: list[Any], authorities: list[Any]) -> Any | None:
    """The authority at the end of a chain that begins with somebody's own certificate."""
    current, others = chain[0], chain[1:]
    while True:
        found = next((each for each in authorities if _issued(current, each)), None)
        between = next((each for each in others if _issued(current, each)), None)
        if found is not None or between is None:
            return found
        others = [each for each in others if each is not between]
        current = between


def _issued(certificate: Any, issuer: Any) -> bool:
    from cryptography.exceptions import InvalidSignature

    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _key_problem(certificate: Any, path: Path) -> str:
    """Why a key cannot be used with a certificate. One that is encrypted is believed to be the right one."""
    from cryptography.hazmat.primitives import serialization

    try:
        key = serialization.load_pem_private_key(path.read_bytes(), None)
    except FileNotFoundError:
        return f"its key {path} is missing"
    except TypeError:  # encrypted: libvirt has the password as a secret
        return ""
    except (OSError, ValueError) as error:
        return f"its key {path}: {error}"
    return "" if key.public_key() == certificate.public_key() else f"the key {path} does not belong to it"


def _fingerprint(certificate: Any) -> str:
    from cryptography.hazmat.primitives import hashes

    return str(certificate.fingerprint(hashes.SHA256()).hex())


def _names(certificate: Any) -> tuple[str, ...]:
    from cryptography import x509

    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        common = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
        return tuple(str(attribute.value) for attribute in common)
    addresses = names.get_values_for_type(x509.IPAddress)
    return (*names.get_values_for_type(x509.DNSName), *(str(address) for address in addresses))
