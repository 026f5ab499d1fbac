from __future__ import annotations

from gateway.errors import ConfigError, Finding, GatewayError, LinkError, RefusedError, WriteError


def test_a_finding_reads_like_a_compilers() -> None:
    finding = Finding("g.yaml", 3, 5, "spool.pth", "unknown key", 'did you mean "path"')
    assert str(finding) == 'g.yaml:3:5: spool.pth: unknown key (did you mean "path")'
    assert str(Finding("g.yaml", 1, 1, "gateway", "this key is missing")) == "g.yaml:1:1: gateway: this key is missing"
    assert finding.as_dict()["line"] == 3


def test_every_finding_is_told() -> None:
    findings = [Finding("g.yaml", line, 1, "a", "wrong") for line in (1, 2)]
    assert str(ConfigError(findings)).count("\n") == 1


def test_who_catches_what() -> None:
    assert issubclass(RefusedError, LinkError)
    assert issubclass(LinkError, GatewayError)
    assert WriteError("denied").status == str(WriteError("denied")) == "denied"
    assert str(WriteError("failed", "the PLC said no")) == "the PLC said no"
