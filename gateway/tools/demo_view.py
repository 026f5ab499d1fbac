"""How the demo shows itself: plain lines, or a live table with keys in a terminal."""

from __future__ import annotations

import asyncio
import os
import sys
import termios
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from gateway.tools.demo_watch import Arrivals, Figures

_SHOWN: Final = (
    "press.electrode_temperature", "press.weld_current", "press.force", "press.coolant_temperature", "press.parts",
    "meter.power", "meter.frequency", "welder.current", "welder.program", "scale.weight",
)  # fmt: skip
_BAR: Final = 40


@dataclass
class Scene:
    """Everything there is to show at one moment."""

    elapsed_s: float = 0.0
    figures: Figures | None = None
    arrivals: Arrivals = field(default_factory=Arrivals)
    broker_up: bool = True
    peak: int = 0  # the largest backlog so far
    note: str = "starting the daemon (the very first start compiles, that takes a while)"


def ratio(figures: Figures) -> str:
    """How much of what was polled is kept, as people say it."""
    if not figures.kept:
        return "-"
    return f"1 in {figures.polled / figures.kept:.1f}"


def plain(scene: Scene) -> str:
    """One line of progress."""
    broker = "up" if scene.broker_up else "PULLED"
    if scene.figures is None:
        return f"{scene.elapsed_s:5.0f} s  arrived {scene.arrivals.readings:,}  broker {broker}  {scene.note}".rstrip()
    figures = scene.figures
    return (
        f"{scene.elapsed_s:5.0f} s  polled {figures.polled:,}  kept {figures.kept:,} ({ratio(figures)})  "
        f"acknowledged {figures.acknowledged:,}  backlog {figures.backlog:,}  lost {figures.lost:,}  "
        f"arrived {scene.arrivals.readings:,}  broker {broker}  {scene.note}"
    ).rstrip()


def picture(scene: Scene) -> Group:
    """The live view."""
    figures = scene.figures or Figures()
    counts = Table(box=None, show_header=False, padding=(0, 2))
    counts.add_column(justify="right", style="bold")
    counts.add_column()
    counts.add_row(f"{figures.polled:,}", "readings polled from the plant")
    counts.add_row(f"{figures.kept:,}", f"kept by the pipeline ({ratio(figures)})")
    counts.add_row(f"{figures.acknowledged:,}", "acknowledged by the broker")
    counts.add_row(f"{figures.backlog:,}", f"backlog  [cyan]{_bar(figures.backlog, scene.peak)}[/]")
    counts.add_row(f"{figures.lost:,}", "lost")
    counts.add_row(f"{scene.arrivals.messages:,}", f"messages arrived with {scene.arrivals.readings:,} readings")
    values = Table(box=None, show_header=False, padding=(0, 2))
    for name in _SHOWN:
        if name in scene.arrivals.values:
            values.add_row(name, scene.arrivals.values[name])
    broker = "[green]up[/]" if scene.broker_up else "[bold red]PULLED[/]"
    head = Text.from_markup(f"[bold]welding cell demo[/]  {scene.elapsed_s:.0f} s   broker {broker}   {scene.note}")
    foot = Text("b: pull or plug in the broker   q: quit", style="dim")
    return Group(head, counts, values, foot)


class PlainView:
    """A line each two seconds, and whenever something happens."""

    def __init__(self) -> None:
        self._last: tuple[int, bool, str] | None = None

    def show(self, scene: Scene) -> None:
        """Print a line if it is time for one."""
        now = (int(scene.elapsed_s) // 2, scene.broker_up, scene.note)
        if now != self._last:
            self._last = now
            print(plain(scene), flush=True)


class LiveView:
    """The table, redrawn in place."""

    def __init__(self, live: Live) -> None:
        self._live = live

    def show(self, scene: Scene) -> None:
        """Redraw."""
        self._live.update(picture(scene), refresh=True)


@contextmanager
def view(on_key: Callable[[str], None]) -> Iterator[PlainView | LiveView]:
    """The live view in a terminal, plain lines otherwise; keys go to `on_key`. Rule: inside a running event loop."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        yield PlainView()
        return
    stdin = sys.stdin.fileno()
    before = termios.tcgetattr(stdin)
    loop = asyncio.get_running_loop()
    tty.setcbreak(stdin)
    loop.add_reader(stdin, lambda: on_key(os.read(stdin, 1).decode(errors="replace")))
    try:
        with Live(auto_refresh=False) as live:
            shown = LiveView(live)
            yield shown
    finally:
        loop.remove_reader(stdin)
        termios.tcsetattr(stdin, termios.TCSADRAIN, before)


def _bar(value: int, peak: int) -> str:
    return "█" * (value * _BAR // peak) if peak else ""
