"""Trust and login: the pinned server certificate, our own, and a password that never travels in clear text."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from asyncua import ua
from asyncua.client.client import Client
from asyncua.crypto import security_policies
from asyncua.crypto.uacrypto import CertProperties, load_private_key
from cryptography import x509

from gateway.errors import RefusedError
from gateway.field.opcua.settings import OpcuaConnection, Security

POLICIES: Final[Mapping[str, Any]] = {  # classes the library calls abstract
    "Basic256Sha256": security_policies.SecurityPolicyBasic256Sha256,
    "Aes128Sha256RsaOaep": security_policies.SecurityPolicyAes128Sha256RsaOaep,
    "Aes256Sha256RsaPss": security_policies.SecurityPolicyAes256Sha256RsaPss,
}
SOON: Final = timedelta(days=30)

log = logging.getLogger(__name__)


def _load(path: Path) -> x509.Certificate:
    try:
        content = path.read_bytes()
        pem = content.startswith(b"-----BEGIN")
        return x509.load_pem_x509_certificate(content) if pem else x509.load_der_x509_certificate(content)
    except OSError as error:
        raise RefusedError(f"{path}: {error.strerror or error}") from error
    except ValueError as error:
        raise RefusedError(f"{path}: no certificate (DER or PEM)") from error


def application_uri(certificate: x509.Certificate, path: Path) -> str:
    """The URI the certificate was made for: servers refuse a client that calls itself anything else."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        names = x509.SubjectAlternativeName([])
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    if not uris:
        raise RefusedError(f"{path}: has no application URI; `gateway pki new` makes one that has")
    return uris[0]


def _format(path: Path) -> str:
    """`pem` or `der` by content: file names lie."""
    try:
        return "pem" if path.read_bytes().startswith(b"-----BEGIN") else "der"
    except OSError as error:
        raise RefusedError(f"{path}: {error.strerror or error}") from error


def _check_expiry(certificate: x509.Certificate, path: Path) -> None:
    """Warn in time; RefusedError once it is over, as any certificate that has expired is no longer trusted."""
    left = certificate.not_valid_after_utc - datetime.now(UTC)
    if left < timedelta(0):
        raise RefusedError(f"{path} expired on {certificate.not_valid_after_utc.date()}")
    if left < SOON:
        log.warning("%s expires in %d days", path, left.days)


async def secure(client: Client, settings: OpcuaConnection) -> None:
    """Prepare the channel: policy, mode, certificates. RefusedError where a file can't be used."""
    client.application_uri = f"urn:{socket.gethostname()}:edge-gateway"
    security = settings.security
    if security.policy != "None":
        await _set_policy(client, security)
    if settings.user_certificate is not None and settings.user_private_key is not None:
        client.user_certificate = await asyncio.to_thread(_load, settings.user_certificate)
        client.user_private_key = await load_private_key(
            settings.user_private_key, None, _format(settings.user_private_key)
        )


async def _set_policy(client: Client, security: Security) -> None:
    own, key, server = security.certificate, security.private_key, security.server_certificate
    assert own is not None  # noqa: S101  # the settings' own check
    assert key is not None  # noqa: S101
    assert server is not None  # noqa: S101
    certificate, pinned = await asyncio.to_thread(_load, own), await asyncio.to_thread(_load, server)
    _check_expiry(certificate, own)
    _check_expiry(pinned, server)
    client.application_uri = application_uri(certificate, own)
    await client.set_security(
        POLICIES[security.policy],
        CertProperties(own, _format(own)),
        CertProperties(key, _format(key)),
        server_certificate=CertProperties(server, _format(server)),
        mode=ua.MessageSecurityMode[security.mode],
    )


async def log_in(client: Client, settings: OpcuaConnection) -> None:
    """Activate the session as the configured user. RefusedError where the password would be readable on the wire."""
    password = None
    if settings.password is not None:
        try:
            password = settings.password.read()
        except (OSError, KeyError) as error:
            raise RefusedError(f"password {settings.password}: can't be read: {error}") from error
        token = client.server_policy(ua.UserTokenType.UserName)
        clear = token.SecurityPolicyUri in {None, "", security_policies.SecurityPolicyNone.URI}
        if clear and settings.security.mode != "SignAndEncrypt":
            raise RefusedError("the server takes passwords in clear text only: use mode SignAndEncrypt")
    await client.activate_session(settings.username, password, client.user_certificate)
