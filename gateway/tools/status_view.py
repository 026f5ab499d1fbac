"""The terminal's view of a running daemon: from its JSON to a screen that fits 80x24. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
_FRAME: Final = 9  # lines that are neither devices nor upstreams


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


def screen(now: Moment, rates: Rates, height: int = 24) -> RenderableType:
    """Everything on `height` lines; devices that are down come first where there are too many."""
    upstreams = list(now.upstreams)[:_UPSTREAMS]
    room = max(1, height - _FRAME - len(upstreams))
    return Group(
        _title(now.health),
        _readings(now, rates),
        _machine(now.health, rates),
        Text(),
        _upstreams(upstreams),
        Text(),
        _devices(now, room),
        _last(now),
    )


def _title(health: Json) -> Text:
    word, colour = _LOOKS.get(str(health["status"]), (str(health["status"]), "red"))
    uptime = span(health["uptime_seconds"])
    title = Text(no_wrap=True, overflow="ellipsis")
    title.append(printable(str(health["gateway"])), "bold").append(f"  {health['version']}  up {uptime}  ")
    title.append(f"● {word}", f"bold {colour}")
    if not health["clock"]["synchronised"]:
        title.append("  clock not synchronised", "yellow")
    return title


def _readings(now: Moment, rates: Rates) -> Text:
    health = now.health
    ratio, backlog, lost = health["compression_ratio"], health["backlog"], health["readings"]["lost"]
    line = Text(no_wrap=True, overflow="ellipsis")
    line.append(f"in {short(rates.polled)}/s  kept {short(rates.kept)}/s")
    line.append(f" (1 of {ratio:.3g})" if ratio else "").append(f"  out {short(rates.acknowledged)}/s  ")
    waiting = f"backlog {short(backlog['readings'])}"
    if backlog["readings"]:
        waiting += f" ({span(backlog['age_seconds'])})"
    line.append(waiting, "yellow" if backlog["age_seconds"] > 60 else "").append("  ")
    return line.append(f"lost {short(lost)}", "red" if lost else "")


def _machine(health: Json, rates: Rates) -> Text:
    spool, process = health["spool"], health["process"]
    line = Text(no_wrap=True, overflow="ellipsis", style="dim")
    line.append(f"spool {size(spool['memory_bytes'] + spool['disk_bytes'])}")
    if spool.get("disk_free_bytes") is not None:
        line.append(f" ({size(spool['disk_free_bytes'])} free)")
    line.append(f"  memory {size(process['rss_bytes'])}  processor {100 * rates.processor:.2g} %")
    return line.append(f"  loop delay {span(process['event_loop_lag_seconds'])}")


def _upstreams(rows: Sequence[Json]) -> Table:
    table = _table("upstream", "state", *("in flight", "acknowledged", "latency", "backlog"))
    for row in rows:
        backlog = short(row["backlog_readings"])
        if row["backlog_readings"]:
            backlog += f" ({span(row['backlog_age_seconds'])})"
        table.add_row(
            printable(row["name"]),
            _state(row),
            f"{row['in_flight']}/{row['window']}",
            short(row["readings"]),
            span(row["latency_seconds"]),
            backlog,
        )
    return table


def _devices(now: Moment, room: int) -> Table:
    rows = list(now.devices)
    if len(rows) > room:
        rows = sorted(rows, key=lambda row: bool(row["up"]))[: room - 1]
    table = _table("device", "state", *("answer", "polls", "errors", "missed", "last good"))
    for row in rows:
        last = "never" if row["last_good"] is None else span(max(0, now.health["time"] - row["last_good"]) // 1000)
        table.add_row(
            printable(row["name"]),
            _state(row),
            span(row["latency_seconds"]),
            short(row["polls"]),
            short(sum(row["errors"].values())),
            short(row["missed"]),
            last,
        )
    if len(rows) < len(now.devices):
        table.add_row(f"and {len(now.devices) - len(rows)} more", Text())
    return table


def _last(now: Moment) -> Text:
    if now.health["spool"]["error"]:
        return Text(f"spool: {printable(now.health['spool']['error'])}", "red", no_wrap=True, overflow="ellipsis")
    losses = now.losses["losses"]
    if losses:
        loss = losses[0]
        count = "an unknown number of" if loss.get("count") is None else short(loss["count"])
        return Text(f"last loss: {count} readings, {printable(str(loss['reason']))}", "red", no_wrap=True)
    return Text()


def _table(first: str, second: str, *rest: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", pad_edge=False)
    table.add_column(first, no_wrap=True, overflow="ellipsis", max_width=24)
    table.add_column(second, no_wrap=True, overflow="ellipsis", max_width=22)
    for name in rest:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _state(row: Json) -> Text:
    if row["up"]:
        return Text("up", "green")
    return Text(printable(f"down: {row['reason']}" if row["reason"] else "down"), "red")


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
