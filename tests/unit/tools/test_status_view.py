from __future__ import annotations

import io

import pytest
from rich.console import Console

from gateway.tools.status_view import Moment, Rates, screen, short, size, span
from tests.fakes.status import FakePlant


def moment(plant: FakePlant) -> Moment:
    view = plant.view
    return Moment(view.health(), view.devices(), view.upstreams(), view.losses(), view.events())


def lines(now: Moment, rates: Rates | None = None, height: int = 24) -> list[str]:
    console = Console(width=80, height=height, file=io.StringIO(), force_terminal=False)
    with console.capture() as capture:
        console.print(screen(now, rates or Rates(), height))
    return capture.get().splitlines()


@pytest.fixture
def plant() -> FakePlant:
    plant = FakePlant()
    plant.move(0)
    plant.incident()
    return plant


def test_everything_that_matters_is_on_the_screen(plant: FakePlant) -> None:
    text = "\n".join(lines(moment(plant), Rates(1204, 190, 189, 0.01)))
    for words in (
        "welding-cell-3",
        "needs attention",
        "in 1,204/s",
        "kept 190/s (1 of 6.34)",
        "out 189/s",
        "backlog 190",
        "lost 14",
        "down: timeout",
        "down: connection refused"[:20],
        "3/100",
        "last loss: 14 readings, missed_tick",
    ):
        assert words in text, words


@pytest.mark.parametrize("count", [0, 1, 15, 40, 400])
def test_it_fits_however_many_devices_there_are(plant: FakePlant, count: int) -> None:
    now = moment(plant)
    many = [{**now.devices[0], "name": f"device-{n:03}", "up": n != count - 1, "reason": "link"} for n in range(count)]
    shown = lines(Moment(now.health, many, now.upstreams, now.losses, now.events))
    assert len(shown) <= 24
    assert all(len(line) <= 80 for line in shown)
    if count > 15:
        assert any("more" in line for line in shown)
        assert any("down: link" in line for line in shown), "what is down comes first"


def test_a_devices_text_cannot_move_the_cursor(plant: FakePlant) -> None:
    plant.counters.device("meter-2").reason = "\x1b[2J\rowned"
    text = "\n".join(lines(moment(plant)))
    assert "\x1b" not in text
    assert "\r" not in text


def test_rates_between_two_moments(plant: FakePlant) -> None:
    before = moment(plant)
    later = {
        **before.health,
        "uptime_seconds": before.health["uptime_seconds"] + 2.0,
        "readings": {**before.health["readings"], "polled": before.health["readings"]["polled"] + 500},
    }
    now = Moment(later, before.devices, before.upstreams, before.losses, before.events)
    assert Rates.between(before, now).polled == pytest.approx(250.0)
    assert Rates.between(None, now) == Rates()
    restarted = Moment({**later, "boot": "other"}, before.devices, before.upstreams, before.losses, before.events)
    assert Rates.between(before, restarted) == Rates()


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (9.54, "9.5"), (1204, "1,204"), (38800, "38.8k"), (1_234_567, "1.23M"), (2e9, "2G")]
)
def test_short(value: float, text: str) -> None:
    assert short(value) == text


@pytest.mark.parametrize(("value", "text"), [(0, "0 B"), (1023, "1023 B"), (388_000, "379 KiB"), (1 << 31, "2 GiB")])
def test_size(value: float, text: str) -> None:
    assert size(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0 s"), (0.0124, "12.4 ms"), (3.2, "3 s"), (150, "2 min"), (7500, "2 h 5 min"), (180_000, "2 d 2 h")],
)
def test_span(value: float, text: str) -> None:
    assert span(value) == text
