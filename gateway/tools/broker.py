"""An MQTT 3.1.1 broker inside this process, whose plug can be pulled.

The broker itself and a back door stay up during an outage, so an observer at the back door sees every message that
was ever accepted; at the front, connections are cut and new ones refused.
"""

from __future__ import annotations

import asyncio
import logging
from types import MappingProxyType
from typing import Any, Final

from amqtt.broker import Broker
from amqtt.contexts import BrokerConfig, ListenerConfig, ListenerType

_LISTENER: Final = "default"
_PLUGINS: Final = MappingProxyType({"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}})


class EmbeddedBroker:
    """Serves `mqtt://127.0.0.1:port` to everybody on this machine. Use with `async with`."""

    def __init__(self, port: int = 0) -> None:
        logging.getLogger("amqtt").setLevel(logging.CRITICAL)
        logging.getLogger("transitions").setLevel(logging.CRITICAL)
        self._wanted = port
        self._broker: Any = None
        self._front: asyncio.Server | None = None
        self._back: asyncio.Server | None = None
        self._guests: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> EmbeddedBroker:
        listener = ListenerConfig(type=ListenerType.EXTERNAL, bind="in process")
        self._broker = Broker(BrokerConfig(listeners={_LISTENER: listener}, plugins=dict(_PLUGINS)))
        await self._broker.start()
        self._back = await asyncio.start_server(self._converse, "127.0.0.1", 0)
        await self.plug_in()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.pull()
        await self._broker.shutdown()
        if self._back is not None:
            self._back.close()

    @property
    def port(self) -> int:
        """The front's port; the same one after an outage."""
        return self._wanted

    @property
    def back_door(self) -> int:
        """A port that stays open during an outage."""
        if self._back is None:
            raise RuntimeError("the broker is not open")
        return int(self._back.sockets[0].getsockname()[1])

    @property
    def plugged(self) -> bool:
        """Whether the front is reachable."""
        return self._front is not None

    async def pull(self) -> None:
        """Cut every connection at the front and refuse new ones."""
        if self._front is None:
            return
        self._front.close()
        self._front = None
        for guest in list(self._guests):
            guest.transport.abort()

    async def plug_in(self) -> None:
        """Listen at the front again, at the same port."""
        if self._front is None:
            self._front = await asyncio.start_server(self._receive, "127.0.0.1", self._wanted)
            self._wanted = int(self._front.sockets[0].getsockname()[1])

    async def _receive(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._guests.add(writer)
        try:
            await self._converse(reader, writer)
        finally:
            self._guests.discard(writer)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._broker.stream_connected(reader, writer, _LISTENER)
