"""Which bytes to read in which request, and what to do where the PLC refuses one. Pure.

Items of one area and data block are sorted and joined while the gap is at most `max_gap` and the answer fits into
one PDU; no item is ever split.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from gateway.field.s7.address import WIDTHS, Address, Area
from gateway.field.s7.settings import S7Tag


class Item(NamedTuple):
    """The bytes of one tag. `row` is its position among the device's tags."""

    area: Area
    block: int
    start: int
    size: int
    row: int


class Block(NamedTuple):
    """The bytes of one request, and the items in it."""

    area: Area
    block: int
    start: int
    size: int
    items: tuple[Item, ...]

    def __str__(self) -> str:
        where = f"DB{self.block}" if self.area == "DB" else self.area
        return f"{where} bytes {self.start} to {self.start + self.size - 1}"


def item_of(row: int, tag: S7Tag) -> Item:
    """The bytes of a tag; a STRING has its two lengths in front."""
    place: Address = tag.place
    size = tag.length + 2 if tag.type == "string" else WIDTHS[tag.type]
    return Item(place.area, place.block, place.byte, size, row)


def joined(items: Sequence[Item]) -> Block:
    """One request for all of them. Rule: same area and data block, at least one item."""
    start = min(item.start for item in items)
    end = max(item.start + item.size for item in items)
    return Block(items[0].area, items[0].block, start, end - start, tuple(items))


def plan(items: Iterable[Item], max_gap: int, max_size: int) -> list[Block]:
    """The requests. An item longer than `max_size` (a long string) is a request of its own."""
    blocks: list[Block] = []
    run: list[Item] = []
    end = 0
    for item in sorted(items, key=lambda each: (each.area, each.block, each.start, -each.size, each.row)):
        if run:
            same = (item.area, item.block) == (run[0].area, run[0].block)
            reach = max(end, item.start + item.size) - run[0].start
            if not same or item.start - end > max_gap or reach > max_size:
                blocks.append(joined(run))
                run = []
        end = max(end, item.start + item.size) if run else item.start + item.size
        run.append(item)
    if run:
        blocks.append(joined(run))
    return blocks


def split(block: Block) -> list[Block]:
    """A refused request in two, to find what the PLC refuses; nothing where it is a single item."""
    half = len(block.items) // 2
    return [joined(block.items[:half]), joined(block.items[half:])] if half else []
