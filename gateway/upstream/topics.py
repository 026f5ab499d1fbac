"""Topic templates: `{enterprise}/{site}/{device}` -> the topic of a device or a tag. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

SITE_FIELDS: Final = frozenset({"enterprise", "site", "area", "line"})
FIELDS: Final = SITE_FIELDS | {"gateway", "device", "tag"}
_FIELD: Final = re.compile(r"\{([^{}]*)\}")


def check_template(template: str) -> None:
    """ValueError with a text for people where the template can't give topics."""
    rest = _FIELD.sub("", template)
    for name in _FIELD.findall(template):
        if name not in FIELDS:
            raise ValueError(f"unknown field {{{name}}}: there are {', '.join(sorted(FIELDS))}")
    if "{" in rest or "}" in rest:
        raise ValueError("a brace without its partner")
    if not template or re.search(r"[+#\x00]", rest):
        raise ValueError("a topic can't be empty and holds no +, # or NUL")
    if template.startswith(("/", "$")) or template.endswith("/") or "//" in template:
        raise ValueError("a topic starts with no / or $, ends with no / and has no empty level")


def fields_of(template: str) -> frozenset[str]:
    """The names of the fields a valid template uses."""
    return frozenset(_FIELD.findall(template))


def fill(template: str, fields: Mapping[str, str]) -> str:
    """The template with the given fields put in; others stay, to be filled later."""
    return _FIELD.sub(lambda match: fields.get(match[1], match[0]), template)
