"""Watchers of a device's frames come and go without disturbing each other."""

from __future__ import annotations

import logging

import pytest

from gateway.app.traces import MOST, Sink, Traces


class Source:
    """Two devices, and the sink each of them has now."""

    def __init__(self) -> None:
        self.sinks: dict[str, Sink | None] = {"press": None, "meter": None}

    def switch(self, device: str, sink: Sink | None) -> bool:
        if device in self.sinks:
            self.sinks[device] = sink
        return device in self.sinks

    def frame(self, device: str, line: str) -> None:
        sink = self.sinks[device]
        if sink is not None:
            sink(line)


def test_two_watch_and_one_leaves() -> None:
    source = Source()
    traces = Traces(source.switch)
    first: list[str] = []
    second: list[str] = []
    write_first, write_second = first.append, second.append
    assert traces.watch("press", write_first)
    assert traces.watch("press", write_second)
    source.frame("press", "a")
    source.frame("meter", "x")
    traces.leave("press", write_first)
    source.frame("press", "b")
    traces.leave("press", write_second)
    assert (first, second) == (["a"], ["a", "b"])
    assert source.sinks["press"] is None


def test_no_such_device() -> None:
    traces = Traces(Source().switch)
    assert not traces.watch("nobody", print)
    assert traces._watchers == {}


def test_watchers_are_bounded() -> None:
    traces = Traces(Source().switch)
    seen: list[list[str]] = [[] for _ in range(3 * MOST)]
    for lines in seen:
        traces.watch("press", lines.append)
    assert len(traces._watchers["press"]) == MOST


def test_devices_at_debug_go_to_the_log(caplog: pytest.LogCaptureFixture) -> None:
    source = Source()
    traces = Traces(source.switch)
    seen: list[str] = []
    write = seen.append
    traces.log_frames(["press", "not-yet-there"])
    traces.watch("press", write)
    source.sinks["press"] = None  # as after a reload that made a new source
    traces.renew()
    with caplog.at_level(logging.DEBUG):
        source.frame("press", "01 03")
        traces.log_frames([])
        source.frame("press", "01 04")
    [record] = caplog.records
    assert (record.getMessage(), record.device) == ("press: 01 03", "press")  # type: ignore[attr-defined]  # by `extra`
    assert seen == ["01 03", "01 04"]
