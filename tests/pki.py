"""Certificates for tests: an authority, and files as QEMU and libvirt read them."""

from __future__ import annotations

import datetime
import ipaddress
import pathlib
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

_DAY = datetime.timedelta(days=1)
_PEM = serialization.Encoding.PEM


class Authority:
    """Signs certificates; with no other authority given it signs itself."""

    def __init__(self, name: str = "authority", parent: Authority | None = None) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = _name(name)
        self.certificate = self._sign(parent or self, self.name, self.key, 365.0, -1.0, (), is_authority=True)

    def sign(self, subject: str, names: tuple[str, ...] = (), days: float = 365.0, since_days: float = -1.0) -> tuple[Any, Any]:
        """(certificate, key) for DNS names and addresses, good from `since_days` to `days` from now."""
        key = ec.generate_private_key(ec.SECP256R1())
        return self._sign(self, _name(subject), key, days, since_days, names, is_authority=False), key

    @staticmethod
    def _sign(
        issuer: Authority, subject: x509.Name, key: Any, days: float, since_days: float, names: tuple[str, ...], is_authority: bool
    ) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        builder = x509.CertificateBuilder(
            issuer.name, subject, key.public_key(), x509.random_serial_number(), now + since_days * _DAY, now + days * _DAY
        )
        builder = builder.add_extension(x509.BasicConstraints(is_authority, None), critical=True)
        usage = dict.fromkeys(("content_commitment", "key_encipherment", "data_encipherment", "key_agreement"), False)
        usage |= dict.fromkeys(("encipher_only", "decipher_only"), False)
        builder = builder.add_extension(
            x509.KeyUsage(digital_signature=True, key_cert_sign=is_authority, crl_sign=is_authority, **usage), critical=True
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName([_general_name(each) for each in names]), critical=False)
        return builder.sign(issuer.key, hashes.SHA256())


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common)])


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def write(path: pathlib.Path, *certificates: x509.Certificate) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(each.public_bytes(_PEM) for each in certificates))


def write_key(path: pathlib.Path, key: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))


def equip(folder: pathlib.Path, authority: Authority, host: str, **server: Any) -> None:
    """All files that QEMU reads in `folder`; `server`: what `sign` is told about the server's certificate."""
    write(folder / "ca-cert.pem", authority.certificate)
    for stem, (certificate, key) in {
        "server": authority.sign(host, **({"names": (host,)} | server)),
        "client": authority.sign(host, (host,)),
    }.items():
        write(folder / f"{stem}-cert.pem", certificate)
        write_key(folder / f"{stem}-key.pem", key)
