"""What is said over a session: the seam between the connection's life (upstream.py) and the formats.

`json` and `columns` are one conversation (plain.py) with two payloads; Sparkplug is another one.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Protocol

from gateway.block import Delivery
from gateway.errors import LinkError
from gateway.readings import TagTable
from gateway.runtime.clock import Clock
from gateway.runtime.counters import UpstreamCounters
from gateway.runtime.latest import Latest
from gateway.runtime.supervise import Link
from gateway.upstream.commands import Commands
from gateway.upstream.identity import Identity
from gateway.upstream.message import Message
from gateway.upstream.session import Session
from gateway.upstream.settings import UpstreamSettings


class Memory(Protocol):
    """Small values that outlive a restart. Neither raises for a failing disk."""

    async def recall(self, key: str) -> bytes | None:
        """What was remembered under the key."""

    async def remember(self, key: str, value: bytes) -> None:
        """Keep the value; on disk when it returns, where there is a disk."""


class NextBrokerError(LinkError):
    """This broker is of no use now: go on with the next one of the list."""


@dataclass(frozen=True, slots=True)
class Context:
    """What a conversation knows of the rest."""

    name: str
    settings: UpstreamSettings
    identity: Identity
    delivery: Delivery
    table: TagTable
    latest: Latest
    clock: Clock
    counters: UpstreamCounters
    commands: Commands | None  # None: this upstream takes no commands
    memory: Memory | None = None  # None: nothing outlives a restart
    recorder: Commands | None = None  # records what is refused, where no commands are taken too


class Conversation(Protocol):
    """One upstream's talk, over all its sessions."""

    def will(self) -> Message:
        """What the broker says when a session dies; asked for before each connection."""

    async def prepare(self) -> None:
        """Before each connection attempt, and before its `will`: what must be known for it."""

    async def connecting(self) -> None:
        """The socket stands and CONNECT goes out when this returns."""

    async def run(self, session: Session, link: Link, stop: asyncio.Event) -> None:
        """One epoch, from CONNACK on: until `stop` is set and all is delivered. LinkError where it ends before."""

    async def farewell(self, session: Session) -> bool:
        """Say goodbye on a session that is live; False where it couldn't be said and the will shall speak."""

    async def background(self) -> None:
        """What runs beside all sessions (commands), until cancelled."""

    def link(self, device: str, *, online: bool, reason: str, since_ns: int) -> None:
        """A device's link changed."""

    def use_table(self, table: TagTable) -> None:
        """A reload made a longer table."""
