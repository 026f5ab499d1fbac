"""Whether one unit of one connection answers, and when to look again. Pure: the caller passes the time.

OK --fails--> SUSPECT (one retry at the end of the cycle) --fails--> DOWN (probes only) --answers--> OK
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from gateway.readings import Quality
from gateway.runtime.supervise import Backoff


class State(Enum):
    """What is known of a unit."""

    OK = "ok"
    SUSPECT = "suspect"
    DOWN = "down"


def _probing() -> Backoff:
    return Backoff(first=1.0, longest=60.0)


@dataclass(slots=True)
class Health:
    """State of one (connection, unit). Times are seconds of `loop.time()`."""

    backoff: Backoff = field(default_factory=_probing)
    state: State = State.OK
    quality: Quality = Quality.BAD_TIMEOUT  # of its tags while it is down
    probe_at: float = float("inf")

    def answered(self) -> None:
        """The unit did its work."""
        self.state, self.probe_at = State.OK, float("inf")
        self.backoff.reset()

    def failed(self, quality: Quality, now: float) -> None:
        """The unit gave no usable answer."""
        self.quality = quality
        if self.state is State.OK:
            self.state = State.SUSPECT
            return
        self.state = State.DOWN
        self.probe_at = now + self.backoff.delay()

    def look_now(self, now: float) -> None:
        """Something changed (a new link): if the unit is down, probe it next."""
        if self.state is State.DOWN:
            self.backoff.reset()
            self.probe_at = now


@dataclass(slots=True)
class ProbeShare:
    """Bounds the part of a bus's time that probes of dead units may take while others live."""

    share: float = 0.03
    free_at: float = 0.0

    def spent(self, seconds: float, now: float) -> None:
        """A probe that ended now took this long."""
        self.free_at = now + seconds * (1.0 / self.share - 1.0)
