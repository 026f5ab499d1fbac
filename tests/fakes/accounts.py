"""Where every reading went that was given (1, 2, 3, ...): a plain model of what the spool and the daemon promise.

Delivered under one identity, with one content however often; or lost within the window of one power cut, which begins
at most a commit interval before its kill. Nothing else is missing, and nothing comes that never was.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from tests.fakes.mosquitto import Received

SLACK_NS = 1_000_000_000  # what a busy machine may add to a commit interval
MS_NS = 1_000_000


@dataclass(frozen=True)
class Kill:
    """A SIGKILL: sent, done; when that life was ready (0: never), and since when a broker was away (0: none)."""

    at_ns: int
    dead_ns: int
    ready_ns: int
    away_ns: int
    slack_ns: int = SLACK_NS  # what the machine may have added to the commit interval of that life


@dataclass
class Accounts:
    """What was asked, what happened, what came."""

    asked_ns: list[int]  # when 1, 2, 3, ... were given
    kills: list[Kill]
    stops: list[tuple[int, int]]  # in order: from when to when; the request under way then has no answer
    commit_s: float
    trip_ns: int  # at most, until what was given arrives in the spool
    received: dict[str, list[Received]] = field(default_factory=dict)

    def settled(self, messages: Iterable[Received]) -> bool:
        """Whether the newest value that can come has come: the request under way at the stop has no answer."""
        return len(self.asked_ns) - 1 in _values(list(messages))

    def check(self) -> dict[str, int]:
        """AssertionError where the promise was broken; else the figures."""
        figures = {"asked": len(self.asked_ns), "kills": len(self.kills), "stops in order": len(self.stops)}
        for name, messages in self.received.items():
            for what, number in self._check_one(messages).items():
                figures[f"{name} {what}"] = number
        return figures

    def _check_one(self, messages: list[Received]) -> dict[str, int]:
        values, windows = _values(messages), self._windows(messages)
        missing = [value for value in range(1, len(self.asked_ns)) if value not in values]
        assert values.keys() <= set(range(1, len(self.asked_ns) + 1)), "something that never was"
        deepest, stops = 0, list(self.stops)
        for value in missing:
            asked = self.asked_ns[value - 1]
            under_way = [stop for stop in stops if stop[0] - self.trip_ns <= asked <= stop[1]]
            if under_way:
                stops.remove(under_way[0])
                continue
            found = [window for window in windows if window[0] - self.trip_ns <= asked <= window[1]]
            assert len(found) == 1, f"{value}, asked at {asked}, is missing; {len(found)} windows hold it: {windows}"
            since, until, kill = found[0]
            assert kill.at_ns - asked <= self.commit_s * 1e9 + kill.slack_ns, f"{value}: lost long before the kill"
            assert asked <= kill.dead_ns, f"{value}: lost in window {since}..{until}, after the kill"
            deepest = max(deepest, kill.at_ns - asked)
        return {
            "lost": len(missing),
            "oldest of them, ms before the kill": deepest // MS_NS,
            "power events": len(windows),
            "messages": len(messages),
        }

    def _windows(self, messages: list[Received]) -> list[tuple[int, int, Kill]]:
        """The windows of all power cuts, each with its last kill."""
        losses = [event for event in _events(messages) if event["event"] == "loss"]
        assert {event["reason"] for event in losses} <= {"power", "missed_tick"}
        power = sorted((e["from"] * MS_NS, (e["to"] + 1) * MS_NS) for e in losses if e["reason"] == "power")
        assert all(before[1] <= after[0] + MS_NS for before, after in pairwise(power)), "a kill told twice"
        found = []
        for since, until in power:
            inside = [kill for kill in self.kills if since <= kill.dead_ns and kill.at_ns <= until]
            assert inside, "a power cut that never was"
            assert sum(kill.ready_ns > 0 for kill in inside) <= 1, "one window for two kills"
            found.append((since, until, inside[0]))
            self._check_tight(since, inside[0])
        for kill in self.kills:
            told = any(since <= kill.dead_ns and kill.at_ns <= until for since, until in power)
            assert told or not kill.ready_ns, "a kill that nobody told of"
        return found

    def _check_tight(self, since_ns: int, kill: Kill) -> None:
        """While a broker is away, blocks are committed: the window begins at most a commit interval before the kill."""
        allowed = self.commit_s * 1e9 + kill.slack_ns
        long_enough = kill.at_ns - allowed
        if kill.away_ns and kill.ready_ns and max(kill.away_ns, kill.ready_ns) < long_enough:
            early_ms = (kill.at_ns - since_ns) / MS_NS
            assert kill.at_ns - since_ns <= allowed, f"the window begins {early_ms} ms before the kill"


def newest(messages: list[Received]) -> int:
    """The newest value that came."""
    return max(_values(messages[-20:]), default=0)


def _events(messages: list[Received]) -> Iterator[dict[str, Any]]:
    """Every event once: a repeat has the same (boot, seq) and the same content."""
    known: dict[tuple[str, int], dict[str, Any]] = {}
    for message in messages:
        if message.topic == "cell/events":
            event = json.loads(message.payload)
            assert known.setdefault((event["boot"], event["seq"]), event) == event, "a repeat with another content"
    yield from known.values()


def _values(messages: list[Received]) -> dict[int, tuple[str, int]]:
    """The counter's values and the block each came in: a repeat has the same identity and the same content."""
    blocks: dict[tuple[str, int], Any] = {}
    values: dict[int, tuple[str, int]] = {}
    for message in messages:
        if message.topic != "cell/press/data":
            continue
        body = json.loads(message.payload)
        identity = body["boot"], body["block"]
        assert blocks.setdefault(identity, body) == body, "a repeat with another content"
        for reading in body["readings"]:
            if reading["quality"] == "good":
                found = values.setdefault(reading["value"], identity)
                assert found == identity, f"{reading['value']} came under two identities"
    return values
