"""What a driver gives the bus scheduler: its devices as stations, and each slot's work as a poll."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable
from typing import Protocol

from gateway.errors import GatewayError
from gateway.readings import Quality, Readings, TagColumn

GiveWay = Callable[[], Awaitable[None]]


class UnitError(GatewayError):
    """A unit failed as a whole: no answer, or none that is of use. `quality` is that of its open tags."""

    def __init__(self, quality: Quality, message: str) -> None:
        super().__init__(message)
        self.quality = quality


class Poll(Protocol):
    """One slot's work on one device."""

    async def attempt(self, give_way: GiveWay) -> bool:
        """Ask for what is still open, awaiting `give_way()` before each request; False: ask again later in the cycle.

        UnitError where the unit failed, LinkError where the link is gone. What was answered by then is kept.
        """

    def readings(self, otherwise: Quality, time_ns: int) -> Readings:
        """A row per tag; tags without an answer are bad with this quality and time."""


class Station(Protocol):
    """One device of a bus. Devices with equal `unit` share the judgement whether they answer."""

    @property
    def device(self) -> str:
        """Its name in the configuration."""

    @property
    def unit(self) -> Hashable:
        """What answers or doesn't, within the connection."""

    @property
    def period_s(self) -> float:
        """Its poll interval."""

    @property
    def tags(self) -> TagColumn:
        """The tags of its readings."""

    def begin(self) -> Poll:
        """The work of a slot."""

    async def probe(self) -> None:
        """The cheapest request that shows whether the unit answers; UnitError or LinkError where not."""
