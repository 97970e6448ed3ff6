"""Key pairs themselves: making them, and the fingerprints that users compare."""

from __future__ import annotations

import base64
import binascii
import datetime
import hashlib

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from nova_blockmigrate import exceptions

SSH, X509 = "ssh", "x509"
_BITS = 3072
_VALID_DAYS = 3650


class InvalidKeyPair(exceptions.Invalid):
    template = "Keypair data is invalid: {reason}"


def generate(kind: str, user: str) -> tuple[str, str]:
    """A new pair: the private half as PEM, and the public one (of x509: a certificate for client authentication)."""
    private = rsa.generate_private_key(public_exponent=65537, key_size=_BITS)
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    if kind == X509:
        return pem.decode(), _certificate(private, user)
    public = private.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return pem.decode(), f"{public.decode()} Generated-by-Nova\n"


def fingerprint(kind: str, public: str) -> str:
    """MD5 of an SSH key, SHA-1 of a certificate: what `ssh-keygen -l -E md5` and `openssl x509 -fingerprint` say.

    :raises InvalidKeyPair:
    """
    if kind == X509:
        try:
            certificate = x509.load_pem_x509_certificate(public.encode())
        except ValueError as error:
            raise InvalidKeyPair(reason=f"not a certificate in PEM: {error}") from error
        return _colons(certificate.fingerprint(hashes.SHA1()).hex())  # noqa: S303 - a name, not a proof
    try:
        blob = base64.b64decode(public.split(" ")[1].strip(), validate=True)
        serialization.load_ssh_public_key(public.strip().encode())
    except (IndexError, ValueError, binascii.Error, UnicodeError, exceptions.BlockMigrateError) as error:
        raise InvalidKeyPair(reason="failed to generate fingerprint: not a public key in OpenSSH's form") from error
    except Exception as error:  # UnsupportedAlgorithm of cryptography: a kind of key it does not know
        raise InvalidKeyPair(reason=f"failed to generate fingerprint: {error}") from error
    return _colons(hashlib.md5(blob, usedforsecurity=False).hexdigest())


def _colons(digits: str) -> str:
    return ":".join(digits[index : index + 2] for index in range(0, len(digits), 2))


def _certificate(private: rsa.RSAPrivateKey, user: str) -> str:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, user[:64] or "user")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=_VALID_DAYS))
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .sign(private, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM).decode()
