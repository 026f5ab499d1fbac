"""The edge node's state: connect -> waiting -> births -> live -> rebirth -> dead; seq and bdSeq. Pure."""

from __future__ import annotations

from enum import Enum
from typing import Final

MERGE_S: Final = 5.0
NUMBERS: Final = 256


class State(Enum):
    """Where the node stands; DATA exists only in LIVE."""

    DEAD = "dead"  # no connection, or a death was published
    WAITING = "waiting"  # subscribed, births not yet allowed
    LIVE = "live"  # births are published or on their way in front of everything else


class Node:
    """One edge node over all its connections."""

    def __init__(self) -> None:
        self.state = State.DEAD
        self._seq = 0
        self._used: int | None = None  # the bdSeq of the newest CONNECT
        self._rebirth_at: float | None = None
        self._answered = float("-inf")

    # bdSeq

    def recalled(self, kept: bytes | None) -> None:
        """The bdSeq of the last CONNECT of an earlier run, as `kept` bytes; what is none counts as unknown."""
        if kept is not None and kept.isdigit() and int(kept) < NUMBERS:
            self._used = int(kept)

    @property
    def next_bdseq(self) -> int:
        """The number the next CONNECT's will carries."""
        return 0 if self._used is None else (self._used + 1) % NUMBERS

    def connecting(self) -> int:
        """CONNECT goes out next: its number is used now, and is to be kept."""
        self._used = self.next_bdseq
        return self._used

    @property
    def bdseq(self) -> int:
        """The number of the running connection."""
        return self._used or 0

    # life

    def subscribed(self) -> None:
        """All subscriptions are granted."""
        self.state = State.WAITING
        self._rebirth_at = None

    def born(self) -> None:
        """Births begin: the next seq is 0."""
        self.state = State.LIVE
        self._rebirth_at = None
        self._seq = 0

    def died(self) -> None:
        """The connection is over, or NDEATH was published."""
        self.state = State.DEAD

    def next_seq(self) -> int:
        """The number of the message that is handed over now."""
        seq, self._seq = self._seq, (self._seq + 1) % NUMBERS
        return seq

    # rebirth

    def rebirth_wanted(self, now: float) -> None:
        """A host asks for births: the first request is answered at once, those of the next 5 s by one more."""
        if self.state is State.LIVE and self._rebirth_at is None:
            self._rebirth_at = max(now, self._answered + MERGE_S)

    def rebirth_due(self, now: float) -> bool:
        """Whether births are to be published again now."""
        if self._rebirth_at is None or now < self._rebirth_at:
            return False
        self._rebirth_at, self._answered = None, now
        return True
