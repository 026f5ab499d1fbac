"""What a probe found about each tag: read alone, read with its neighbours, and whether both agree. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from rich.text import Text

from gateway.readings import BAD, Quality, Readings, Tag
from gateway.runtime.printable import printable
from gateway.tools.columns import aligned

_HEAD: Final = ("tag", "address", "value", "quality", "ms", "in a block", "")
_RIGHT: Final = frozenset({"value", "ms", "in a block"})


@dataclass(frozen=True)
class Sight:
    """One read of one tag: a value (None where there is none), its quality, and how long the answer took."""

    value: float | str | None
    quality: str  # good, uncertain/reason, bad/reason
    seconds: float
    detail: str = ""  # what the device said, where that is no value

    @property
    def good(self) -> bool:
        """Whether there is a usable value."""
        return not self.quality.startswith("bad")


@dataclass(frozen=True)
class Probed:
    """One tag, read alone and (where the driver joins reads) in a block, and alone again where both differ."""

    tag: Tag
    single: Sight | None
    block: Sight | None = None
    again: Sight | None = None

    @property
    def difference(self) -> bool:
        """Whether the block gave something that the reads alone can't explain by a value that moved meanwhile."""
        if self.single is None or self.block is None:
            return False
        if self.single.good != self.block.good:
            return True
        return self.single.good and not _between(self.block.value, self.single.value, (self.again or self.single).value)

    @property
    def fine(self) -> bool:
        """A usable value, the same both ways."""
        return self.single is not None and self.single.good and not self.difference


def sight(readings: Readings, index: int, seconds: float) -> Sight:
    """The newest reading of a tag."""
    rows = (readings.tag == index).nonzero()[0]
    row = int(rows[-1])
    quality = Quality(int(readings.quality[row]))
    word = quality.word if not quality.reason else f"{quality.word}/{quality.reason}"
    value = float(readings.value[row])
    if math.isnan(value):
        return Sight(None, word, seconds)
    return Sight(readings.texts.get(int(value), value) if readings.texts else value, word, seconds)


def refused(quality: Quality, seconds: float, detail: str) -> Sight:
    """A read without a value."""
    return Sight(None, f"{quality.word}/{quality.reason}", seconds, detail)


def is_bad(readings: Readings, index: int) -> bool:
    """Whether the newest reading of a tag is bad."""
    rows = (readings.tag == index).nonzero()[0]
    return len(rows) == 0 or int(readings.quality[rows[-1]]) >= BAD


def to_lines(probed: Sequence[Probed]) -> Iterator[Text]:
    """The findings for people: a header and one line per tag, in red what is not fine."""
    rows = [_row(each) for each in probed]
    lines = aligned(_HEAD, rows, _RIGHT)
    styles = ["bold", *("bold red" if each.difference else "" if each.fine else "red" for each in probed)]
    for line, style in zip(lines, styles, strict=True):
        yield Text(line, style=style)


def _row(each: Probed) -> tuple[str, ...]:
    single, block = each.single, each.block
    return (
        each.tag.full_name,
        each.tag.address,
        _shown(single, each.tag.unit),
        single.quality if single else "-",
        f"{single.seconds * 1000:.1f}" if single else "-",
        _shown(block, "") if block else "-",
        "DIFFERS" if each.difference else printable(single.detail) if single else "no reading came",
    )


def to_json(probed: Sequence[Probed]) -> list[dict[str, Any]]:
    """The findings for scripts."""
    return [
        {
            "tag": each.tag.full_name,
            "address": each.tag.address,
            "unit": each.tag.unit,
            "single": _plain(each.single),
            "block": _plain(each.block),
            "again": _plain(each.again),
            "differs": each.difference,
        }
        for each in probed
    ]


def _plain(seen: Sight | None) -> dict[str, Any] | None:
    if seen is None:
        return None
    return {
        "value": seen.value,
        "quality": seen.quality,
        "seconds": round(seen.seconds, 6),
        "detail": seen.detail,
    }


def _shown(seen: Sight | None, unit: str) -> str:
    if seen is None or seen.value is None:
        return "-"
    if isinstance(seen.value, str):
        return repr(seen.value)
    return f"{seen.value:.7g} {unit}".rstrip()


def _between(value: float | str | None, first: float | str | None, second: float | str | None) -> bool:
    if isinstance(value, float) and isinstance(first, float) and isinstance(second, float):
        return min(first, second) <= value <= max(first, second)
    return value in {first, second}
