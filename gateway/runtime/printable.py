"""Text from devices, brokers and files, made safe to show: one line, no control or direction-changing characters."""

from __future__ import annotations

import os


def printable(text: str, limit: int = 0) -> str:
    r"""The text with every unprintable character escaped (`\x1b`, `\u202e`), cut to `limit` characters unless 0."""
    if limit and len(text) > limit:
        text = text[: limit - 1] + "…"
    return text if text.isprintable() else "".join(c if c.isprintable() else _escape(c) for c in text)


def in_words(error: OSError) -> str:
    """`address already in use`: the system's words, without asyncio's or the file's name around them."""
    if (error.errno or 0) > 0:
        words = os.strerror(error.errno or 0)
        return words[:1].lower() + words[1:]
    return error.strerror or str(error)


def _escape(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
