"""What a rule of the conformance suite is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.fakes.sparkplug.transcript import Suite, Transcript

Check = Callable[[Suite], None]  # AssertionError where a scenario violates it, or where none shows it
Spoil = Callable[[Suite], Suite]
Where = Callable[[Suite], tuple[Transcript, int]]  # a packet of a scenario


@dataclass(frozen=True)
class Rule:
    """Assertion ids, the check that stands for them, and faults of which it must report each one by itself."""

    ids: tuple[str, ...]
    check: Check
    spoils: tuple[Spoil, ...]


def rule(check: Check, ids: str, *spoils: Spoil) -> Rule:
    """A rule; `ids` are separated by blanks."""
    assert spoils, "a check that was never seen failing proves nothing"
    return Rule(tuple(ids.split()), check, spoils)


def message(
    kind: str, scenario: str = "plain-5", nth: int = 0, *, sent: bool = True, device: str | None = None
) -> Where:
    """The nth Sparkplug message of a type."""

    def find(suite: Suite) -> tuple[Transcript, int]:
        transcript = suite[scenario]
        found = [
            one.place
            for one in transcript.messages
            if one.type == kind and one.packet.sent == sent and (device is None or one.device == device)
        ]
        return transcript, found[nth]

    return find


def packet(kind: str, scenario: str = "plain-5", nth: int = 0, *, sent: bool = True) -> Where:
    """The nth packet of an MQTT type."""

    def find(suite: Suite) -> tuple[Transcript, int]:
        transcript = suite[scenario]
        places = [place for place, one in enumerate(transcript.packets) if one.kind == kind and one.sent == sent]
        return transcript, places[nth]

    return find
