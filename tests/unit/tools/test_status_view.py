from __future__ import annotations

import io

import pytest
from rich.console import Console

from gateway.tools.status_view import Moment, Rates, screen, short, size, span
from tests.fakes.status import FakePlant


def moment(plant: FakePlant) -> Moment:
    view = plant.view
    return Moment(view.health(), view.devices(), view.upstreams(), view.losses(), view.events())


def lines(now: Moment, rates: Rates | None = None, width: int = 80, height: int = 24, trouble: str = "") -> list[str]:
    console = Console(width=width, height=height, file=io.StringIO(), force_terminal=False)
    with console.capture() as capture:
        console.print(screen(now, rates or Rates(), width, height, trouble))
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


@pytest.mark.parametrize("width", [40, 80, 132])
@pytest.mark.parametrize("count", [0, 1, 15, 40, 400])
def test_it_fits_however_many_devices_there_are(plant: FakePlant, count: int, width: int) -> None:
    now = moment(plant)
    many = [{**now.devices[0], "name": f"device-{n:03}", "up": n != count - 1, "reason": "link"} for n in range(count)]
    shown = lines(Moment(now.health, many, now.upstreams, now.losses, now.events), width=width)
    assert len(shown) <= 24
    assert all(len(line) <= width for line in shown)
    if count > 15:
        assert any("more" in line for line in shown)
        assert any("down: link" in line for line in shown), "what is down comes first"


def test_a_narrow_screen_has_fewer_columns_and_whole_words(plant: FakePlant) -> None:
    shown = lines(moment(plant), width=40)
    figures = shown[: next(number for number, line in enumerate(shown) if not line.strip())]
    assert not any("…" in line for line in figures)
    assert any(line.split() == ["device", "state", "last", "good"] for line in shown)
    wide = lines(moment(plant))
    assert any("answer" in line and "polls" in line and "last good" in line for line in wide)


def test_what_room_is_left_shows_the_newest_events(plant: FakePlant) -> None:
    now = moment(plant)
    event = {
        "event": "alarm",
        "time": 0,
        "seq": 7,
        "tag": "press.temperature",
        "change": "raised",
        "value": 81.123456789,
    }
    many = [event, *({**event, "change": f"no {number}"} for number in range(30))]
    shown = lines(Moment(now.health, now.devices, now.upstreams, now.losses, many))
    assert len(shown) == 24
    assert any(line.endswith("alarm  tag press.temperature, change raised, value 81.1235") for line in shown)
    full = [{**now.devices[0], "name": f"device-{n:03}"} for n in range(40)]
    assert not any("raised" in line for line in lines(Moment(now.health, full, now.upstreams, now.losses, many)))


def test_an_old_moment_says_so(plant: FakePlant) -> None:
    title = lines(moment(plant), trouble="no answer for 12 s: nobody answers")[0]
    assert "no answer for 12 s: nobody answers" in title
    assert "needs attention" not in title


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
