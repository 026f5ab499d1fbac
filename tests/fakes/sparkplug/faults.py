"""Faults: how transcripts are spoiled to see that a check objects."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from tests.fakes.sparkplug.rules import Spoil, Where
from tests.fakes.sparkplug.schema import decode
from tests.fakes.sparkplug.tap import Packet
from tests.fakes.sparkplug.transcript import Suite, Transcript

Edit = Callable[[Any], object]  # works on a payload, or a part of one, in place


def edited(where: Where, edit: Callable[[list[Packet], int], None]) -> Spoil:
    """A fault in the list of packets."""

    def spoil(suite: Suite) -> Suite:
        transcript, place = where(suite)
        packets = list(transcript.packets)
        edit(packets, place)
        spoiled = Transcript(transcript.name, tuple(packets), transcript.heard, transcript.facts)
        return Suite({**suite.transcripts, transcript.name: spoiled})

    return spoil


def changed(where: Where, **fields: Any) -> Spoil:
    """Other values in a packet's fields."""

    def edit(packets: list[Packet], place: int) -> None:
        packets[place] = replace(packets[place], **fields)

    return edited(where, edit)


def will_changed(where: Where, **fields: Any) -> Spoil:
    """Other values in the fields of a CONNECT's will."""

    def edit(packets: list[Packet], place: int) -> None:
        will = packets[place].will
        assert will is not None
        packets[place] = replace(packets[place], will=replace(will, **fields))

    return edited(where, edit)


def rewritten(where: Where, change: Edit) -> Spoil:
    """A message's payload after `change`, which works on it in place."""

    def edit(packets: list[Packet], place: int) -> None:
        payload = decode(packets[place].payload)
        change(payload)
        packets[place] = replace(packets[place], payload=payload.SerializePartialToString())

    return edited(where, edit)


def will_rewritten(where: Where, change: Edit) -> Spoil:
    """A will's payload after `change`."""

    def edit(packets: list[Packet], place: int) -> None:
        will = packets[place].will
        assert will is not None
        payload = decode(will.payload)
        change(payload)
        packets[place] = replace(packets[place], will=replace(will, payload=payload.SerializePartialToString()))

    return edited(where, edit)


def retopiced(where: Where, old: str, new: str) -> Spoil:
    """A packet on another topic."""

    def edit(packets: list[Packet], place: int) -> None:
        assert old in packets[place].topic
        packets[place] = replace(packets[place], topic=packets[place].topic.replace(old, new))

    return edited(where, edit)


def dropped(where: Where) -> Spoil:
    """The packet is missing."""

    def edit(packets: list[Packet], place: int) -> None:
        del packets[place]

    return edited(where, edit)


def repeated(where: Where) -> Spoil:
    """The packet comes twice."""
    return edited(where, lambda packets, place: packets.insert(place, packets[place]))


def moved(where: Where, before: Where) -> Spoil:
    """The packet comes in front of another one of the same scenario, which it follows in truth."""

    def spoil(suite: Suite) -> Suite:
        _, target = before(suite)

        def edit(packets: list[Packet], place: int) -> None:
            assert target < place
            packets.insert(target, packets.pop(place))

        return edited(where, edit)(suite)

    return spoil


def facts_changed(scenario: str, **facts: Any) -> Spoil:
    """Something else happened at the devices."""

    def spoil(suite: Suite) -> Suite:
        transcript = suite[scenario]
        return Suite({**suite.transcripts, scenario: replace(transcript, facts={**transcript.facts, **facts})})

    return spoil


def unheard(scenario: str, part: str) -> Spoil:
    """A subscriber misses the last message on a topic."""

    def spoil(suite: Suite) -> Suite:
        transcript = suite[scenario]
        heard = list(transcript.heard)
        del heard[max(place for place, one in enumerate(heard) if part in one.topic)]
        return Suite({**suite.transcripts, scenario: replace(transcript, heard=tuple(heard))})

    return spoil


def clear(field: str) -> Edit:
    """A field is missing."""
    return lambda message: message.ClearField(field)


def put(field: str, value: Any) -> Edit:
    """A field has another value."""
    return lambda message: setattr(message, field, value)


def first(change: Edit) -> Edit:
    """In the first metric."""
    return lambda payload: change(payload.metrics[0])


def named(name: str, change: Edit) -> Edit:
    """In the metric of a name."""
    return lambda payload: change(next(metric for metric in payload.metrics if metric.name == name))


def leave_out(name: str) -> Edit:
    """A metric is missing."""

    def edit(payload: Any) -> None:
        kept = [metric for metric in payload.metrics if metric.name != name]
        assert len(kept) < len(payload.metrics)
        del payload.metrics[:]
        payload.metrics.extend(kept)

    return edit
