"""Which tags may leave through an upstream: `["press.*", "!press.batch_id"]`. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Final

import numpy as np

from gateway.readings import Mask, TagTable

_PATTERN: Final = re.compile(r"!?[A-Za-z0-9_.*?-]+")


def check_pattern(pattern: str) -> None:
    """ValueError where a pattern could match no tag's full name."""
    if not _PATTERN.fullmatch(pattern):
        raise ValueError(f"{pattern!r} is no pattern such as press.*, meter-*.power or !press.batch_id")


def selected(patterns: Sequence[str] | None, full_name: str) -> bool:
    """Whether a tag is chosen: the last pattern that matches decides; None, or exclusions only, start with all."""
    if patterns is None:
        return True
    chosen = all(pattern.startswith("!") for pattern in patterns)
    for pattern in patterns:
        if fnmatchcase(full_name, pattern.removeprefix("!")):
            chosen = not pattern.startswith("!")
    return chosen


def mask(patterns: Sequence[str] | None, table: TagTable) -> Mask:
    """One truth per tag index of the table."""
    return np.fromiter((selected(patterns, tag.full_name) for tag in table), np.bool_, len(table))


def unmatched(patterns: Sequence[str] | None, names: Sequence[str]) -> list[str]:
    """The patterns that match none of the tags' full names: probably misspelled."""
    return [
        pattern for pattern in patterns or () if not any(fnmatchcase(name, pattern.removeprefix("!")) for name in names)
    ]
