"""The terminal's view of a running daemon: from its JSON to a screen that fits 80x24. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from gateway.runtime.printable import printable

Json = Mapping[str, Any]

_LOOKS: Final = {
    "ok": ("all well", "green"),
    "degraded": ("needs attention", "yellow"),
    "starting": ("starting", "yellow"),
}
_UPSTREAMS: Final = 4  # rows
_FRAME: Final = 4  # blank lines and the tables' headers
_NAME: Final = 24  # characters of a name
_STATE: Final = 22  # of a state
_EVENT_HEAD: Final = frozenset({"gateway", "boot", "seq", "time", "event"})


@dataclass(frozen=True, slots=True)
class Moment:
    """What the daemon said at one moment."""

    health: Json
    devices: Sequence[Json]
    upstreams: Sequence[Json]
    losses: Json
    events: Sequence[Json]

    def as_json(self) -> Json:
        """Everything, for scripts."""
        return {
            "health": self.health,
            "devices": self.devices,
            "upstreams": self.upstreams,
            "losses": self.losses,
            "events": self.events,
        }


@dataclass(frozen=True, slots=True)
class Rates:
    """Readings a second and processor share between two moments."""

    polled: float = 0.0
    kept: float = 0.0
    acknowledged: float = 0.0
    processor: float = 0.0  # of one core

    @classmethod
    def between(cls, before: Moment | None, now: Moment) -> Rates:
        """The rates from one moment to the next; zero where there is no earlier one of the same start."""
        if before is None or before.health["boot"] != now.health["boot"]:
            return cls()
        seconds: float = now.health["uptime_seconds"] - before.health["uptime_seconds"]
        if seconds <= 0:
            return cls()

        def per(group: str, key: str) -> float:
            grown: float = now.health[group][key] - before.health[group][key]
            return max(0.0, grown / seconds)

        return cls(
            per("readings", "polled"),
            per("readings", "kept"),
            per("readings", "acknowledged"),
            per("process", "cpu_seconds"),
        )


def screen(now: Moment, rates: Rates, width: int = 80, height: int = 24, trouble: str = "") -> RenderableType:
    """Everything on `height` lines of `width` characters; what is down comes first where there is too much.

    `trouble` says why this moment is an old one.
    """
    upstreams = _down_first(now.upstreams, _UPSTREAMS)
    head = [*_flow(_title(now.health, trouble), width), *_flow(_readings(now, rates), width)]
    head += _flow(_machine(now.health, rates), width)
    last = _last(now)
    room = height - len(head) - len(upstreams) - len(last) - _FRAME
    devices = _down_first(now.devices, max(1, room))
    parts: list[RenderableType] = [*head, Text(), _upstreams(upstreams, width), Text()]
    parts += [_devices(devices, len(now.devices), now.health["time"], width), *last]
    spare = room - min(len(now.devices), room) - 1
    if spare > 0 and now.events:
        parts += [Text(), *(_event(event) for event in now.events[:spare])]
    return Group(*parts)


def _down_first(rows: Sequence[Json], room: int) -> list[Json]:
    """As many rows as fit, one less where a line has to say that there are more."""
    return list(rows) if len(rows) <= room else sorted(rows, key=lambda row: bool(row["up"]))[: room - 1]


def _flow(parts: Iterable[Text], width: int) -> list[Text]:
    """The parts, two blanks apart, on as few lines as they need."""
    lines: list[Text] = []
    for part in parts:
        part.no_wrap, part.overflow = True, "ellipsis"
        if lines and len(lines[-1]) + len(part) + 2 <= width:
            lines[-1].append("  ").append_text(part)
        else:
            lines.append(part)
    return lines


def _title(health: Json, trouble: str) -> Iterator[Text]:
    word, colour = (trouble, "red") if trouble else _LOOKS.get(str(health["status"]), (str(health["status"]), "red"))
    yield Text(printable(str(health["gateway"])), "bold")
    yield Text(f"{health['version']}  up {span(health['uptime_seconds'])}")
    yield Text(f"● {printable(word)}", f"bold {colour}")
    if not health["clock"]["synchronised"]:
        yield Text("clock not synchronised", "yellow")


def _readings(now: Moment, rates: Rates) -> Iterator[Text]:
    health = now.health
    ratio, backlog, lost = health["compression_ratio"], health["backlog"], health["readings"]["lost"]
    yield Text(f"in {short(rates.polled)}/s")
    yield Text(f"kept {short(rates.kept)}/s" + (f" (1 of {ratio:.3g})" if ratio else ""))
    yield Text(f"out {short(rates.acknowledged)}/s")
    waiting = f"backlog {short(backlog['readings'])}"
    if backlog["readings"]:
        waiting += f" ({span(backlog['age_seconds'])})"
    yield Text(waiting, "yellow" if backlog["age_seconds"] > 60 else "")
    yield Text(f"lost {short(lost)}", "red" if lost else "")


def _machine(health: Json, rates: Rates) -> Iterator[Text]:
    spool, process = health["spool"], health["process"]
    free = spool.get("disk_free_bytes")
    held = f"spool {size(spool['memory_bytes'] + spool['disk_bytes'])}"
    yield Text(held + ("" if free is None else f" ({size(free)} free)"), "dim")
    yield Text(f"memory {size(process['rss_bytes'])}", "dim")
    yield Text(f"cpu {100 * rates.processor:.2g} %", "dim")
    yield Text(f"loop delay {span(process['event_loop_lag_seconds'])}", "dim")


def _upstreams(rows: Sequence[Json], width: int) -> Table:
    def backlog(row: Json) -> str:
        waits = row["backlog_readings"]
        return f"{short(waits)} ({span(row['backlog_age_seconds'])})" if waits else "0"

    columns: dict[str, Callable[[Json], str]] = {
        "in flight": lambda row: f"{row['in_flight']}/{row['window']}",
        "acknowledged": lambda row: short(row["readings"]),
        "latency": lambda row: span(row["latency_seconds"]) if row["readings"] else "-",
        "backlog": backlog,
    }
    return _table("upstream", rows, columns, ("backlog", "in flight", "latency", "acknowledged"), width)


def _devices(rows: Sequence[Json], count: int, now_ms: int, width: int) -> Table:
    def last_good(row: Json) -> str:
        return "never" if row["last_good"] is None else span(max(0, now_ms - row["last_good"]) // 1000)

    columns: dict[str, Callable[[Json], str]] = {
        "answer": lambda row: span(row["latency_seconds"]) if row["latency_seconds"] else "-",
        "polls": lambda row: short(row["polls"]),
        "errors": lambda row: short(sum(row["errors"].values())),
        "missed": lambda row: short(row["missed"]),
        "last good": last_good,
    }
    table = _table("device", rows, columns, ("last good", "errors", "missed", "answer", "polls"), width)
    if len(rows) < count:
        table.add_row(f"and {count - len(rows)} more", Text())
    return table


def _table(
    name: str,
    rows: Sequence[Json],
    columns: Mapping[str, Callable[[Json], str]],
    dearest: Sequence[str],
    width: int,
) -> Table:
    """Name and state of each row, and of the columns as many as the width has room for, the dearest first."""
    names = min(_NAME, max([len(name), *(len(row["name"]) for row in rows)]))
    states = [_state(row) for row in rows]
    room = width - names - 2 - min(_STATE, max([len("state"), *map(len, states)]))
    kept: list[str] = []
    for title in dearest:
        room -= 2 + max(len(title), *(len(columns[title](row)) for row in rows), 0) if rows else 2 + len(title)
        if room < 0:
            break
        kept.append(title)
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", pad_edge=False)
    table.add_column(name, no_wrap=True, overflow="ellipsis", max_width=_NAME)
    table.add_column("state", no_wrap=True, overflow="ellipsis", max_width=_STATE)
    shown = [title for title in columns if title in kept]
    for title in shown:
        table.add_column(title, justify="right", no_wrap=True)
    for row, state in zip(rows, states, strict=True):
        table.add_row(printable(row["name"]), state, *(columns[title](row) for title in shown))
    return table


def _state(row: Json) -> Text:
    if row["up"]:
        return Text("up", "green")
    why = row.get("detail") or row["reason"]
    return Text(printable(f"down: {why}" if why else "down"), "red")


def _last(now: Moment) -> list[Text]:
    """What must not be overlooked: the disk's trouble, else the newest loss."""
    if now.health["spool"]["error"]:
        words = f"spool: {printable(now.health['spool']['error'])}"
    elif losses := now.losses["losses"]:
        loss = losses[0]
        count = "an unknown number of" if loss.get("count") is None else short(loss["count"])
        words = f"last loss: {count} readings, {printable(str(loss['reason']))}"
    else:
        return []
    return [Text(words, "red", no_wrap=True, overflow="ellipsis")]


def _event(event: Json) -> Text:
    """Time, kind and what else the event says, on one line."""
    at = datetime.fromtimestamp(event["time"] / 1000, UTC).astimezone().strftime("%H:%M:%S")
    rest = ", ".join(f"{key} {_plain(part)}" for key, part in event.items() if key not in _EVENT_HEAD)
    text = Text(f"{at}  ", "dim", no_wrap=True, overflow="ellipsis")
    return text.append(printable(str(event["event"])), "not dim").append(f"  {printable(rest)}")


def _plain(part: Any) -> str:
    if isinstance(part, float):
        return f"{part:.6g}"
    return part if isinstance(part, str) else json.dumps(part, ensure_ascii=False)


def short(value: float) -> str:
    """`9.5`, `1,204`, `38.8k`, `1.2M`."""
    if value < 10:
        return f"{value:.1f}".removesuffix(".0")
    if value < 10_000:
        return f"{value:,.0f}"
    return (
        f"{value / 1e3:.3g}k"
        if value < 999_500
        else f"{value / 1e6:.3g}M"
        if value < 999.5e6
        else f"{value / 1e9:.3g}G"
    )


def size(count: float) -> str:
    """Bytes as `379 KiB`."""
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.3g} {unit}" if count < 1000 else f"{count:.0f} {unit}"
        count /= 1024
    return f"{count:.3g} GiB" if count < 1000 else f"{count:.0f} GiB"


def span(seconds: float) -> str:
    """A duration with one unit, two where it is long: `12 ms`, `3 s`, `2 h 5 min`."""
    if seconds < 1:
        return f"{seconds * 1000:.3g} ms" if seconds else "0 s"
    if seconds < 100:
        return f"{seconds:.0f} s"
    for unit, name, rest, below in ((86400, "d", 3600, "h"), (3600, "h", 60, "min")):
        if seconds >= unit:
            return f"{seconds // unit:.0f} {name} {seconds % unit // rest:.0f} {below}"
    return f"{seconds // 60:.0f} min"
