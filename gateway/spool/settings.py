"""The `spool:` section of the configuration file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from gateway.runtime.model import Fault, Settings, across
from gateway.runtime.settings import Duration, File, Size

WhenFull = Literal["drop-oldest", "drop-newest", "thin"]
Drain = Literal["oldest-first", "live-first"]
SMALLEST = 128 << 10  # an empty database and room for a few blocks


def _large_enough(size: int) -> int:
    if size < SMALLEST:
        raise ValueError(f"expected {SMALLEST >> 10}KiB or more")
    return size


class Seal(Settings):
    """When a block is closed and offered to the upstreams."""

    max_age: Duration = 0.5
    max_readings: Annotated[int, Field(ge=1, le=1_000_000)] = 5000


class SpoolSettings(Settings):
    """Where readings wait for their acknowledgement, and what happens when that takes long."""

    path: File | None = None
    seal: Seal = Seal()
    commit_interval: Duration = 1.0  # what a power cut may cost, counted from a reading's arrival
    max_size: Annotated[Size, AfterValidator(_large_enough)] = 1 << 30
    max_age: Duration = 30 * 86400.0
    when_full: WhenFull = "drop-oldest"
    drain: Drain = "oldest-first"
    backlog_rate: Annotated[float, Field(gt=0)] | None = None  # readings per second and upstream, with live-first

    @across("seal", "commit_interval")
    def _sealed_in_time(self) -> Iterator[Fault]:
        if self.seal.max_age > self.commit_interval:
            where = ("seal", "max_age") if "max_age" in self.seal.model_fields_set else ("commit_interval",)
            text = f"seal.max_age ({self.seal.max_age:g}s) may not exceed commit_interval ({self.commit_interval:g}s)"
            yield where, f"{text}, which counts from a reading's arrival"

    @across("backlog_rate", "drain")
    def _drains_beside(self) -> Iterator[Fault]:
        if self.backlog_rate is not None and self.drain != "live-first":
            yield ("backlog_rate",), "needs drain: live-first, where the backlog doesn't hold up new readings"

    def place(self, gateway: str) -> Path:
        """The database file: `path`, else in $STATE_DIRECTORY, else in the user's state folder."""
        if self.path is not None:
            return self.path
        state = os.environ.get("STATE_DIRECTORY", "").split(":")[0]
        folder = Path(state) if state else Path.home() / ".local" / "state" / "gateway" / gateway
        return folder / "spool.db"
