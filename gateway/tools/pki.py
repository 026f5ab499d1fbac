"""The client's own certificate for OPC UA: an RSA key and a self-signed certificate with an application URI.

Fields as OPC UA part 6, 6.2.2 asks: the application URI and the host name as alternative names, all four key usages,
client authentication. The file names are those of the configuration's example: own.der and own.pem.
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from gateway.errors import GatewayError


@dataclass(frozen=True, slots=True)
class Identity:
    """What was made: where it lies, and what the server's administrator has to compare."""

    certificate: Path
    private_key: Path
    application_uri: str
    fingerprint: str  # SHA-1, as most servers show it
    expires: datetime


def default_uri() -> str:
    """The application URI of this host."""
    return f"urn:{socket.gethostname()}:edge-gateway"


def create(
    directory: Path,
    application_uri: str,
    common_name: str = "Edge Gateway",
    days: int = 3650,
    *,
    bits: int = 2048,
    overwrite: bool = False,
) -> Identity:
    """Make `own.der` (0644) and `own.pem` (0600) in a directory, which is made too. GatewayError where they exist."""
    certificate, private_key = directory / "own.der", directory / "own.pem"
    for path in (certificate, private_key):
        if path.exists() and not overwrite:
            raise GatewayError(f"{path} exists: servers that trust it would refuse a new one (--overwrite makes one)")
    key = rsa.generate_private_key(public_exponent=65537, key_size=bits)
    built = _certificate(key, application_uri, common_name, days)
    directory.mkdir(parents=True, exist_ok=True)
    text = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    _write(private_key, text, 0o600)
    _write(certificate, built.public_bytes(serialization.Encoding.DER), 0o644)
    return Identity(
        certificate,
        private_key,
        application_uri,
        built.fingerprint(hashes.SHA1()).hex(":").upper(),  # noqa: S303  # a name to compare, not a protection
        built.not_valid_after_utc,
    )


def _certificate(key: rsa.RSAPrivateKey, application_uri: str, common_name: str, days: int) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    now = datetime.now(UTC)
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=True,
        key_encipherment=True,
        data_encipherment=True,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    names = [x509.UniformResourceIdentifier(application_uri), x509.DNSName(socket.gethostname())]
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))  # a server's clock may be behind
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )


def _write(path: Path, content: bytes, mode: int) -> None:
    """Write a file that never exists with wider rights or half its content."""
    part = path.with_name(path.name + ".part")
    part.unlink(missing_ok=True)
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    part.replace(path)


def pki_new(
    directory: Path, *, uri: str = "", name: str = "Edge Gateway", days: int = 3650, overwrite: bool = False
) -> None:
    """Make the identity and print what the server's administrator and the configuration need. GatewayError, OSError."""
    made = create(directory.absolute(), uri or default_uri(), name, days, overwrite=overwrite)
    print(f"certificate:     {made.certificate}   (trust this one in the server)")
    print(f"private key:     {made.private_key}")
    print(f"application URI: {made.application_uri}")
    print(f"SHA-1:           {made.fingerprint}")
    print(f"valid until:     {made.expires:%Y-%m-%d}")
    print("\nIn the configuration, with the server's own certificate beside it:")
    print(
        "security: {policy: Basic256Sha256, mode: SignAndEncrypt, "
        f"certificate: {made.certificate}, private_key: {made.private_key}, "
        f"server_certificate: {made.certificate.with_name('server.der')}}}"
    )
    if os.geteuid() == 0:
        print("\nThe key is root's alone. For the service, whose user is gateway:")
        print(f"chgrp gateway {made.private_key} && chmod 640 {made.private_key}")
