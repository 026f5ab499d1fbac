"""Text from devices, brokers and files, made safe to show: one line, no control or direction-changing characters."""

from __future__ import annotations


def printable(text: str, limit: int = 0) -> str:
    r"""The text with every unprintable character escaped (`\x1b`, `\u202e`), cut to `limit` characters unless 0."""
    if limit and len(text) > limit:
        text = text[: limit - 1] + "…"
    return text if text.isprintable() else "".join(c if c.isprintable() else _escape(c) for c in text)


def _escape(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
