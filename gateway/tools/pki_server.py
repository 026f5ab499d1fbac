"""`gateway pki server`: the certificate an OPC UA server shows, as a file to pin. A person says whether it is right."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from asyncua import ua
from asyncua.client.client import Client
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from gateway.errors import GatewayError
from gateway.field.opcua.session import translated

_TIMEOUT_S: Final = 4.0


def pki_server(url: str, file: Path, *, overwrite: bool = False) -> None:
    """Save the server's certificate (DER) and print what to compare. LinkError, GatewayError, OSError."""
    if file.exists() and not overwrite:
        raise GatewayError(f"{file} exists (--overwrite replaces it)")
    endpoints = asyncio.run(_endpoints(url))
    shown = {first(endpoint.ServerCertificate) for endpoint in endpoints if endpoint.ServerCertificate}
    if not shown:
        raise GatewayError(f"{url}: the server shows no certificate: it offers no security")
    if len(shown) > 1:
        raise GatewayError(f"{url}: the server shows {len(shown)} different certificates")
    (der,) = shown
    try:
        certificate = x509.load_der_x509_certificate(der)
    except ValueError as error:
        raise GatewayError(f"{url}: what the server shows is no certificate: {error}") from error
    file.write_bytes(der)
    print(f"certificate: {file.absolute()}")
    print(f"subject:     {certificate.subject.rfc4514_string()}")
    print(f"SHA-1:       {certificate.fingerprint(hashes.SHA1()).hex(':').upper()}")  # noqa: S303  # a name to compare
    print(f"valid until: {certificate.not_valid_after_utc:%Y-%m-%d}")
    print(f"offers:      {', '.join(offers(endpoints))}")
    print("\nCompare the SHA-1 with the one the server itself shows, then name the file as server_certificate.")


def offers(endpoints: Sequence[ua.EndpointDescription]) -> list[str]:
    """Policies and modes, each once, as the configuration writes them."""
    pairs = [(each.SecurityPolicyUri or "").rpartition("#")[2] + " " + each.SecurityMode.name for each in endpoints]
    return list(dict.fromkeys(pair.replace("None None_", "None") for pair in pairs))


def first(der: bytes) -> bytes:
    """The first certificate of what may be a chain: its length stands in its head."""
    if len(der) < 2 or der[1] < 0x80:
        return der
    count = der[1] & 0x7F
    return der[: 2 + count + int.from_bytes(der[2 : 2 + count], "big")]


async def _endpoints(url: str) -> list[ua.EndpointDescription]:
    logging.getLogger("asyncua").setLevel(logging.CRITICAL)
    with translated(url):
        return await Client(url, timeout=_TIMEOUT_S).connect_and_get_server_endpoints()
