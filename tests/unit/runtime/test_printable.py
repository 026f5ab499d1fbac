from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.runtime.printable import printable


def test_plain_text_stays() -> None:
    assert printable("Presse läuft, 211.5 °C") == "Presse läuft, 211.5 °C"


def test_control_and_direction_characters_are_escaped() -> None:
    assert printable("a\nb\x1b[31m\u202e\U000e0001") == "a\\x0ab\\x1b[31m\\u202e\\U000e0001"


def test_long_text_is_cut() -> None:
    assert printable("x" * 100, 10) == "x" * 9 + "…"


@given(st.text())
def test_whatever_comes_in_one_printable_line_comes_out(text: str) -> None:
    assert printable(text).isprintable()
