"""Keeps every second reading of a block, per tag. Pure."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from gateway.block import Block
from gateway.readings import Mask


def chosen(block: Block, level: int) -> Mask:
    """Which rows stay when a block is thinned for the `level`-th time, counted from 0; alternating over blocks.

    A tag with one reading a block so keeps every second block.
    """
    tag = block.readings.tag
    order = np.argsort(tag, kind="stable")
    ordered = tag[order]
    starts = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
    lengths = np.diff(np.append(starts, len(ordered)))
    rank = np.empty(len(tag), np.int64)
    rank[order] = np.arange(len(tag)) - np.repeat(starts, lengths)
    keep: Mask = (rank + (block.id.number >> level)) % 2 == 0
    return keep


def split(block: Block, level: int) -> tuple[Block, Block]:
    """What stays and what goes; both keep the block's identity."""
    keep = chosen(block, level)
    readings = block.readings
    return replace(block, readings=readings.where(keep)), replace(block, readings=readings.where(~keep))
