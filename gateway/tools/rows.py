"""Readings as people and scripts read them: JSON lines as in the `json` payload, or CSV. Pure."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from typing import Final

from gateway.block import BlockId
from gateway.readings import BAD, Quality, Readings, Tag, TagTable

CSV_HEADER: Final = ("time", "tag", "value", "quality", "reason")
MS: Final = 1_000_000


def quality_words(code: int) -> tuple[str, str]:
    """Class and reason in wire.md's words; the reason is empty where there is none."""
    try:
        quality = Quality(code)
    except ValueError:
        return ("bad" if code & BAD else "uncertain" if code else "good"), ""
    return quality.word, quality.reason


def plain_value(value: float, code: int, tag: Tag | None, texts: Mapping[int, str]) -> bool | float | str | None:
    """A value as JSON shows it: None where it is bad (reason range apart), bool and text as what they are."""
    if value != value or abs(value) == float("inf") or (code & BAD and code != Quality.BAD_RANGE):  # noqa: PLR0124  # NaN
        return None
    kind = "real" if tag is None else tag.kind
    if kind == "text":
        return texts.get(int(value))
    if kind == "bool":
        return bool(value)
    return int(value) if kind == "integer" else value


def rows_of(readings: Readings, table: TagTable | None, unit_ns: int = MS) -> Iterator[tuple[str, dict[str, object]]]:
    """Each reading with its device: the members of one entry of `readings` in wire.md.

    Without a table a tag is `#<number>` of no device.
    """
    columns = (readings.tag, readings.time_ns, readings.value, readings.quality)
    for number, time_ns, value, code in zip(*(column.tolist() for column in columns), strict=True):
        tag = table[number] if table is not None else None
        word, reason = quality_words(code)
        row: dict[str, object] = {
            "tag": f"#{number}" if tag is None else tag.name,
            "time": time_ns // unit_ns,
            "value": plain_value(value, code, tag, readings.texts),
            "quality": word,
        }
        yield ("" if tag is None else tag.device), {**row, "reason": reason} if reason else row


def json_lines(
    gateway: str, block: BlockId, readings: Readings, table: TagTable | None, device: str = "", unit_ns: int = MS
) -> Iterator[str]:
    """One line a reading, as in a message of its own, with the identity of the message it came in."""
    head = {"gateway": gateway} if gateway else {}
    identity = {"boot": block.boot, "block": block.number}
    for home, row in rows_of(readings, table, unit_ns):
        body = {**head, "device": home or device, **row, **identity}
        yield json.dumps(body, ensure_ascii=False, separators=(",", ":"))


def csv_lines(readings: Readings, table: TagTable | None, device: str = "", unit_ns: int = MS) -> Iterator[str]:
    """One line a reading, without a header line; the tag by its full name."""
    for home, row in rows_of(readings, table, unit_ns):
        out = io.StringIO()
        named = f"{home or device}.{row['tag']}".removeprefix(".")
        value = row["value"]
        shown = "" if value is None else json.dumps(value) if isinstance(value, (bool, float, int)) else value
        csv.writer(out, lineterminator="").writerow((row["time"], named, shown, row["quality"], row.get("reason", "")))
        yield out.getvalue()
