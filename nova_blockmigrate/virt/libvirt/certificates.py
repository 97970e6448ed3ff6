"""The X.509 certificates that libvirt and QEMU read for TLS, where they read them. Reads only."""

from __future__ import annotations

from pathlib import Path

from nova_blockmigrate.survey import Certificate

PKI = Path("/etc/pki")


def of_libvirt(pki: Path = PKI) -> tuple[Certificate, ...]:
    """For qemu+tls:// between the daemons."""
    return (
        read(pki / "CA/cacert.pem", is_own=False),
        read(pki / "libvirt/servercert.pem"),
        read(pki / "libvirt/clientcert.pem", is_own=False),
    )


def of_qemu(pki: Path = PKI) -> tuple[Certificate, ...]:
    """For QEMU's own TLS of memory and disks."""
    return read(pki / "qemu/ca-cert.pem", is_own=False), read(pki / "qemu/server-cert.pem")


def read(path: Path, is_own: bool = True) -> Certificate:
    from cryptography import x509  # only hosts that use TLS need it

    try:
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
    except FileNotFoundError:
        return Certificate(str(path), problem="it is missing", is_own=is_own)
    except (OSError, ValueError) as error:
        return Certificate(str(path), problem=str(error), is_own=is_own)
    return Certificate(
        str(path),
        names=_names(certificate),
        not_before_s=certificate.not_valid_before_utc.timestamp(),
        not_after_s=certificate.not_valid_after_utc.timestamp(),
        is_own=is_own,
    )


def _names(certificate: object) -> tuple[str, ...]:
    from cryptography import x509

    assert isinstance(certificate, x509.Certificate)  # noqa: S101 - (its type is imported late)
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        common = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
        return tuple(str(attribute.value) for attribute in common)
    addresses = names.get_values_for_type(x509.IPAddress)
    return (*names.get_values_for_type(x509.DNSName), *(str(address) for address in addresses))
