"""Which daemon a configuration means, even one that is wrong now."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.errors import ConfigError
from gateway.tools.remote import socket_of, spool_of


def test_a_wrong_configuration_still_names_its_daemon(tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text(f"gateway: {{name: a}}\nspool: {{path: {tmp_path}/spool.db, max_size: 5}}\nconnections: 5\n")
    assert socket_of(file) == tmp_path / "control.sock"


def test_without_a_path_it_stands_in_the_state_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text("gateway: {name: a}\n")
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "state"))
    assert spool_of(file) == tmp_path / "state/spool.db"
    monkeypatch.delenv("STATE_DIRECTORY")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert spool_of(file) == tmp_path / ".local/state/gateway/a/spool.db"


@pytest.mark.parametrize(
    "text",
    ["", "gateway: {", "- a\n", "gateway: 5\n", "gateway: {name: a b}\n", "gateway: {name: a}\nspool: {path: 5}\n"],
)
def test_what_names_no_daemon_is_said_where_it_stands(tmp_path: Path, text: str) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError) as error:
        socket_of(file)
    assert error.value.findings
