"""What a receiver of the spool's model has got, what it was told as lost, and what a crash leaves open."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.block import Block, BlockId


@dataclass
class Receiver:
    chosen: set[str] = field(default_factory=set)  # tags that may leave there; empty: all
    wanted: set[float] = field(default_factory=set)  # what was appended since it is there
    before: set[float] = field(default_factory=set)  # what was appended before it left and came back
    outstanding: list[Block] = field(default_factory=list)
    accepted: set[float] = field(default_factory=set)
    unsaved: set[float] = field(default_factory=set)  # accepted since the disk was last told
    maybe: set[float] = field(default_factory=set)  # of those, what a crash may have brought back
    told: set[tuple[str, int]] = field(default_factory=set)  # loss events by boot and seq
    lost: int = 0
    unsaved_lost: int = 0  # told since the disk was last told of an acknowledgement
    maybe_lost: int = 0  # of those, what a crash may have told again in another event
    done: set[BlockId] = field(default_factory=set)  # acknowledged in this process

    def accept(self, block: Block, texts: Mapping[float, str]) -> None:
        rows = [
            (value, int(tag))
            for value, tag in zip(block.readings.value.tolist(), block.readings.tag, strict=True)
            if not self.chosen or block.table[int(tag)].full_name in self.chosen
        ]
        values = {value for value, _ in rows}
        assert len(values) == len(rows)
        for value in values & texts.keys():
            assert block.readings.texts[int(value)] == texts[value]
        self.accepted |= values
        self.unsaved |= values
        for event in map(json.loads, block.events):
            if event["event"] != "loss" or event["reason"] == "power" or (event["boot"], event["seq"]) in self.told:
                continue
            assert event["reason"] in {"spool_full", "spool_age"}
            assert not self.chosen or set(event["tags"]) <= self.chosen
            self.told.add((event["boot"], event["seq"]))
            self.lost += event["count"]
            self.unsaved_lost += event["count"]
