from __future__ import annotations

import io
import logging
import re
from collections.abc import Iterator

import pytest

from gateway.runtime.logs import Collapse, Levels, LogLines, Logs, configure, message_of

LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (?P<level>[A-Z]+) +(?P<message>.*)")


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    quieted = {name: logging.getLogger(name).level for name in ("pymodbus", "asyncua", "asyncio", "numba")}
    yield io.StringIO()
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)
    for name, before in quieted.items():
        logging.getLogger(name).setLevel(before)


def lines(stream: io.StringIO) -> list[str]:
    return [match["message"] for match in map(LINE.fullmatch, stream.getvalue().splitlines()) if match]


def record(message: str, *args: object, level: int = logging.WARNING, **extra: object) -> logging.LogRecord:
    return logging.makeLogRecord({"msg": message, "args": args, "levelno": level, "levelname": "WARNING", **extra})


def test_lines_carry_time_level_and_message(stream: io.StringIO) -> None:
    configure(stream=stream)
    logging.getLogger("gateway.test").warning("%s: down", "press")
    match = LINE.fullmatch(stream.getvalue().rstrip("\n"))
    assert match is not None
    assert (match["level"], match["message"]) == ("WARNING", "press: down")


def test_a_message_cannot_forge_a_line(stream: io.StringIO) -> None:
    configure(stream=stream)
    logging.getLogger("gateway.test").warning("%s", "x\n2026-01-01T00:00:00.000Z ERROR   forged")
    assert len(stream.getvalue().splitlines()) == 1
    assert lines(stream) == ["x\\x0a2026-01-01T00:00:00.000Z ERROR   forged"]


def test_a_traceback_is_marked_as_one(stream: io.StringIO) -> None:
    configure(stream=stream)
    try:
        raise ValueError("a\n2026-01-01T00:00:00.000Z ERROR   forged")
    except ValueError:
        logging.getLogger("gateway.test").exception("it broke")
    first, *rest = stream.getvalue().splitlines()
    assert first.endswith("it broke")
    assert rest
    assert all(line.startswith("  | ") for line in rest)


def test_levels_by_device(stream: io.StringIO) -> None:
    logs = configure("warning", {"press": "debug"}, stream)
    log = logging.getLogger("gateway.test")
    log.debug("a", extra={"device": "press"})
    log.debug("b", extra={"device": "robot"})
    log.info("c")
    logs.level("info", {"robot": "error"})
    log.info("d", extra={"device": "press"})
    log.warning("e", extra={"device": "robot"})
    log.info("f")
    assert lines(stream) == ["a", "d", "f"]


def test_the_status_page_sees_the_same_lines(stream: io.StringIO) -> None:
    logs = configure(stream=stream)
    logging.getLogger("gateway.test").warning("down", extra={"device": "press"})
    logging.getLogger("gateway.test").debug("unwanted")
    (line,) = logs.lines.newest()
    assert (line["number"], line["level"], line["message"], line["device"]) == (1, "warning", "down", "press")


def test_libraries_that_repeat_our_reports_are_quiet(stream: io.StringIO) -> None:
    configure("debug", {}, stream)
    logging.getLogger("pymodbus.logging").error("no answer")
    logging.getLogger("asyncua.client").warning("reconnect")
    assert stream.getvalue() == ""


def test_repeats_collapse_and_are_counted() -> None:
    now = 0.0
    collapse = Collapse(lambda: now)
    passed = [collapse.filter(record("%s: bad answer", "press")) for _ in range(20)]
    assert passed == [True] * 5 + [False] * 15
    now = 60.0
    later = record("%s: bad answer", "press")
    assert collapse.filter(later)
    assert message_of(later) == "press: bad answer (15 more like this were held back)"
    again = record("%s: bad answer", "press")
    assert collapse.filter(again)
    assert message_of(again) == "press: bad answer"


def test_another_subject_or_template_is_no_repeat() -> None:
    collapse = Collapse(lambda: 0.0)
    for _ in range(10):
        collapse.filter(record("%s: bad answer", "press", device="press"))
    assert collapse.filter(record("%s: bad answer", "robot", device="robot"))
    assert collapse.filter(record("%s: down", "press", device="press"))
    assert not collapse.filter(record("%s: bad answer", "press", device="press"))


def test_debug_never_collapses() -> None:
    collapse = Collapse(lambda: 0.0)
    assert all(collapse.filter(record("frame", level=logging.DEBUG)) for _ in range(50))


def test_templates_remembered_are_bounded() -> None:
    collapse = Collapse(lambda: 0.0)
    for number in range(5000):
        assert collapse.filter(record(f"line {number}"))
    assert len(collapse._seen) <= 256


def test_levels_lowest() -> None:
    assert Levels(logging.INFO, {"press": logging.DEBUG}).lowest == logging.DEBUG
    assert Levels(logging.ERROR).lowest == logging.ERROR


def test_kept_lines_are_bounded_in_number_and_length() -> None:
    kept = LogLines(size=3)
    for number in range(10):
        kept.handle(record("x" * 10_000 + str(number)))
    newest = kept.newest()
    assert [line["number"] for line in newest] == [8, 9, 10]
    assert all(len(line["message"]) == 2000 for line in newest)


def test_one_decision_for_all_handlers(stream: io.StringIO) -> None:
    logs = configure(stream=stream)
    assert isinstance(logs, Logs)
    for _ in range(10):
        logging.getLogger("gateway.test").warning("the same")
    assert len(lines(stream)) == len(logs.lines.newest()) == 5
