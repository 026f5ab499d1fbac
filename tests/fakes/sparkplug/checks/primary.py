"""Rules about the primary host and walking over several servers (chapter 5)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, Final

from tests.fakes.sparkplug.faults import changed, dropped, moved, repeated
from tests.fakes.sparkplug.rules import Rule, Where, message, packet, rule
from tests.fakes.sparkplug.tap import Packet
from tests.fakes.sparkplug.transcript import Suite, Transcript

HOSTED: Final = ("host", "walk")
IN_FLIGHT: Final = 3  # messages that may have left before the node could know


@dataclass(frozen=True)
class State:
    """What the host said, as the node had to take it: `counts` False where it is older than what was said before."""

    place: int
    packet: Packet
    online: bool
    counts: bool


def states(transcript: Transcript) -> Iterator[State]:
    """The STATE messages of the primary host, in order."""
    newest: dict[int, int] = {}
    topic = f"spBv1.0/STATE/{transcript.facts['primary_host']}"
    for place, one in enumerate(transcript.packets):
        if one.kind == "PUBLISH" and one.topic == topic:
            body: dict[str, Any] = json.loads(one.payload)
            counts = body["timestamp"] >= newest.get(one.server, 0)
            if counts:
                newest[one.server] = body["timestamp"]
            yield State(place, one, body["online"], counts)


def state_is_subscribed(suite: Suite) -> None:
    """Exactly the host's topic, before each birth."""
    for name in HOSTED:
        transcript = suite[name]
        for session in transcript.sessions:
            filters = [found for _, one in session for found in one.filters]
            wanted = [found for found in filters if "STATE" in found[0]]
            assert wanted == [(f"spBv1.0/STATE/{transcript.facts['primary_host']}", 1)], f"{name}: {wanted}"


def births_wait(suite: Suite) -> None:
    """The newest STATE that counts and came on this connection says online."""
    for name in HOSTED:
        transcript = suite[name]
        births = transcript.sent("NBIRTH")
        assert births
        said = [one for one in states(transcript) if one.counts]
        for birth in births:
            on_it = [
                one for one in said if one.packet.connection == birth.packet.connection and one.place < birth.place
            ]
            assert on_it, f"{name}: {birth} without a word of the host"
            assert on_it[-1].online, f"{name}: {birth} while the host is offline"


def births_wait_for_this_host(suite: Suite) -> None:
    """Another host is online all the time; births come behind the own one's word only."""
    others = [one for one in suite["host"].heard if one.topic == "spBv1.0/STATE/other"]
    assert [json.loads(one.payload)["online"] for one in others] == [True]
    births_wait(suite)


def births_ignore_an_older_online(suite: Suite) -> None:
    """A stale `online` came, nothing followed it, and what counted led to births."""
    transcript = suite["host"]
    stale = [one for one in states(transcript) if one.online and not one.counts]
    assert len(stale) == 2, "the first connection and the second have one each"
    for one in stale:
        after = [later for later in transcript.packets[one.place :] if later.kind == "PUBLISH"]
        until = takewhile(lambda later, one=one: later is one.packet or "STATE" not in later.topic, after)  # type: ignore[misc]
        assert not [later.topic for later in until if later.sent], f"births behind the stale word at {one.place}"
    births_wait(suite)


def _offline(transcript: Transcript) -> Iterator[State]:
    """The words that end a live connection."""
    for one in states(transcript):
        born = [birth for birth in transcript.sent("NBIRTH") if birth.place < one.place]
        if one.counts and not one.online and born and born[-1].packet.connection == one.packet.connection:
            yield one


def offline_ends_the_connection(suite: Suite) -> None:
    """NDEATH and DISCONNECT, no data behind it but what was on its way."""
    for name, times in (("host", 1), ("walk", 2)):
        transcript = suite[name]
        ends = list(_offline(transcript))
        assert len(ends) == times
        for end in ends:
            sent = [
                one
                for one in transcript.packets[end.place :]
                if one.sent and one.connection == end.packet.connection and one.kind in {"PUBLISH", "DISCONNECT"}
            ]
            assert [one.kind for one in sent[-2:]] == ["PUBLISH", "DISCONNECT"], [one.kind for one in sent]
            assert "/NDEATH/" in sent[-2].topic
            assert len(sent) - 2 <= IN_FLIGHT, f"{name}: {len(sent) - 2} messages behind offline"


def offline_connects_again(suite: Suite) -> None:
    for name in HOSTED:
        transcript = suite[name]
        for end in _offline(transcript):
            later = [one for one in transcript.packets[end.place :] if one.kind == "CONNECT"]
            assert later, f"{name}: no CONNECT behind offline"
    births_wait(suite)


def an_older_offline_is_ignored(suite: Suite) -> None:
    transcript = suite["host"]
    stale = [one for one in states(transcript) if not one.online and not one.counts]
    assert stale
    for one in stale:
        after = next(later for later in transcript.sent() if later.place > one.place)
        assert after.type in {"DDATA", "NDATA"}, f"{after} behind a stale offline"


def walk_goes_on(suite: Suite) -> None:
    """Behind offline the next CONNECT goes to the other server."""
    transcript = suite["walk"]
    ends = list(_offline(transcript))
    assert len(ends) == 2
    for end in ends:
        connect = next(one for one in transcript.packets[end.place :] if one.kind == "CONNECT")
        assert connect.server == 1 - end.packet.server, f"stays on {connect.server}"
    assert [birth.packet.server for birth in transcript.sent("NBIRTH")] == [0, 1, 0]


def one_server_at_a_time(suite: Suite) -> None:
    several = 0
    for transcript in suite:
        open_connection: int | None = None
        for one in transcript.packets:
            if one.kind == "CONNECT":
                assert open_connection is None, f"{transcript.name}: CONNECT while {open_connection} is open"
                open_connection = one.connection
                several += one.server
            elif one.kind == "CLOSED":
                open_connection = None
    assert several, "no scenario uses a second server"


def _state(scenario: str, online: bool, time_ms: int) -> Where:  # as the payload's fields
    def find(suite: Suite) -> tuple[Transcript, int]:
        transcript = suite[scenario]
        wanted = {"online": online, "timestamp": time_ms}
        found = [one.place for one in states(transcript) if json.loads(one.packet.payload) == wanted]
        return transcript, found[0]

    return find


_OFFLINE = json.dumps({"online": False, "timestamp": 1000}).encode()
RULES: Final[tuple[Rule, ...]] = (
    rule(
        state_is_subscribed, "operational-behavior-primary-application-state-with-multiple-servers-state-subs",
        changed(packet("SUBSCRIBE", "walk", 3), filters=(("spBv1.0/STATE/+", 1),)),
        changed(packet("SUBSCRIBE", "walk", 1), filters=(("spBv1.0/STATE/scada", 0),)),
    ),
    rule(
        births_wait,
        "message-flow-edge-node-birth-publish-phid-wait message-flow-edge-node-birth-publish-phid-wait-online"
        " operational-behavior-edge-node-birth-sequence-wait",
        changed(_state("host", True, 1000), payload=_OFFLINE), dropped(_state("walk", True, 3000)),
        moved(message("NBIRTH", "host", 1), _state("host", True, 3000)),
    ),
    rule(
        births_wait_for_this_host, "message-flow-edge-node-birth-publish-phid-wait-id",
        changed(_state("host", True, 1000), topic="spBv1.0/STATE/other"),
    ),
    rule(
        births_ignore_an_older_online, "message-flow-edge-node-birth-publish-phid-wait-timestamp",
        dropped(_state("host", True, 3000)), moved(message("NBIRTH", "host"), message("DCMD", "host", sent=False)),
    ),
    rule(
        offline_ends_the_connection,
        "message-flow-edge-node-birth-publish-phid-offline operational-behavior-edge-node-termination-host-offline",
        dropped(message("NDEATH", "host")), dropped(packet("DISCONNECT", "walk")),
        moved(_state("host", False, 2000), message("DDATA", "host")),
    ),
    rule(
        offline_connects_again, "operational-behavior-edge-node-termination-host-offline-reconnect",
        moved(message("NBIRTH", "host", 1), _state("host", True, 1999)),
    ),
    rule(
        an_older_offline_is_ignored, "operational-behavior-edge-node-termination-host-offline-timestamp",
        moved(message("NDEATH", "host"), message("DCMD", "host", 1, sent=False)),
    ),
    rule(
        walk_goes_on, "operational-behavior-primary-application-state-with-multiple-servers-walk",
        changed(packet("CONNECT", "walk", 1), server=0),
    ),
    rule(
        one_server_at_a_time, "operational-behavior-primary-application-state-with-multiple-servers-single-server",
        dropped(packet("CLOSED", "walk", sent=False)), repeated(packet("CONNECT", "walk", 1)),
    ),
)  # fmt: skip
