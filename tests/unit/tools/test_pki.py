from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from gateway.errors import GatewayError
from gateway.tools.pki import create, pki_new


def test_the_certificate_carries_what_servers_ask_for(tmp_path: Path) -> None:
    made = create(tmp_path / "pki", "urn:plant:gateway-7", "Gateway 7", days=30)
    certificate = x509.load_der_x509_certificate(made.certificate.read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == ["urn:plant:gateway-7"]
    assert names.get_values_for_type(x509.DNSName)
    usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    assert usage.digital_signature
    assert usage.content_commitment
    assert usage.key_encipherment
    assert usage.data_encipherment
    assert certificate.subject.rfc4514_string() == "CN=Gateway 7"
    left = certificate.not_valid_after_utc - datetime.now(UTC)
    assert timedelta(days=29) < left <= timedelta(days=30)


def test_the_key_belongs_to_the_certificate_and_only_to_its_owner(tmp_path: Path) -> None:
    made = create(tmp_path, "urn:a:b")
    key = load_pem_private_key(made.private_key.read_bytes(), None)
    assert isinstance(key, rsa.RSAPrivateKey)
    certificate = x509.load_der_x509_certificate(made.certificate.read_bytes())
    assert certificate.public_key() == key.public_key()
    assert made.private_key.stat().st_mode & 0o777 == 0o600


def test_an_identity_is_not_replaced_unasked(tmp_path: Path) -> None:
    first = create(tmp_path, "urn:a:b")
    before = first.certificate.read_bytes()
    with pytest.raises(GatewayError, match="exists"):
        create(tmp_path, "urn:a:b")
    assert first.certificate.read_bytes() == before
    create(tmp_path, "urn:a:b", overwrite=True)
    assert first.certificate.read_bytes() != before


def test_what_is_printed_pastes_into_a_configuration(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pki_new(tmp_path / "pki")
    printed = capsys.readouterr().out
    assert "edge-gateway" in printed
    assert f"certificate: {tmp_path}/pki/own.der, private_key: {tmp_path}/pki/own.pem" in printed
