"""One connection to a broker on the event loop: an epoch. Nothing of it survives it, and no thread works for it.

    open() -> CONNACK -> live: publish(), take_acks(), take_messages(), wait() -> close() or LinkError

paho's callbacks only note what came and wake the owner task, so its logic runs (and fails) there, never inside paho.
"""

from __future__ import annotations

import asyncio
import struct
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

import paho.mqtt.client as mqtt
from paho.mqtt import MQTTException
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from gateway.errors import LinkError
from gateway.upstream.client import Client
from gateway.upstream.connect import Dialer, new_client
from gateway.upstream.inbox import Inbox
from gateway.upstream.message import NO_PROPERTIES, Incoming, Message
from gateway.upstream.plan import Limits, Plan, ending, limits_of, refusal

CONNECT_TIMEOUT_S: Final = 15.0  # DNS, TCP on several addresses, TLS
CONNACK_TIMEOUT_S: Final = 5.0
SUBACK_TIMEOUT_S: Final = 10.0

# What paho raises on bytes that are no MQTT.
_MALFORMED: Final = (MQTTException, struct.error, IndexError, KeyError, ValueError, OSError)


@dataclass(frozen=True, slots=True)
class _Packed:
    """Stands in for paho's Properties, of which publishing only calls `pack`."""

    packed: bytes

    def pack(self) -> bytes:
        return self.packed


class Session:
    """One connection. Every method is called on the loop's thread."""

    def __init__(self, plan: Plan, dialer: Dialer | None = None) -> None:
        self.plan = plan
        self._dialer = dialer or Dialer()
        self.limits = Limits()
        self.inbox = Inbox()
        self.in_flight = 0  # QoS 1 messages without their PUBACK
        self.turns = 0  # grows with every `wait` of the owner, at least once a second while it does its work
        self.wake_when_written = False  # for a sender of QoS 0, which waits for `blocked` to end
        self._loop = asyncio.get_running_loop()
        self._acks: deque[tuple[int, int]] = deque()
        self._subscribed: dict[int, asyncio.Future[list[int]]] = {}
        self._connack: asyncio.Future[Properties | None] = self._loop.create_future()
        self._wake = asyncio.Event()
        self._error: LinkError | None = None
        self._ended = asyncio.Event()
        self._accepted = False
        self._attached = False
        self._timer: asyncio.TimerHandle | None = None
        self._v5 = plan.protocol == "5"
        self._client = self._make_client()

    # opening and closing

    async def open(self, on_connect_queued: Callable[[], Awaitable[None]] | None = None) -> None:
        """Connect until the broker's CONNACK; LinkError or RefusedError where it doesn't come to that.

        `on_connect_queued` is called when the socket stands and CONNECT goes out next. However it ends, `abort` or
        `close` is the caller's to call.
        """
        await self._dialer.dial(self._client, self.plan, CONNECT_TIMEOUT_S)
        sock = self._client.socket()
        if sock is None:
            raise LinkError("the connection was closed at once")
        if on_connect_queued is not None:
            await on_connect_queued()
        self._attached = True
        self._loop.add_reader(sock, self._read)
        if self._client.want_write():
            self._loop.add_writer(sock, self._write)
        self._timer = self._loop.call_later(1.0, self._tick)
        try:
            async with asyncio.timeout(CONNACK_TIMEOUT_S):
                properties = await self._connack
        except TimeoutError as error:
            raise LinkError(f"no CONNACK within {CONNACK_TIMEOUT_S:g} s") from error
        self.limits = limits_of(properties)

    async def close(self, timeout_s: float, *, with_will: bool = False) -> None:
        """Send DISCONNECT and close, within `timeout_s` seconds; `with_will` asks an MQTT 5 broker to say the will."""
        if self.live:
            reason = ReasonCode(PacketTypes.DISCONNECT, identifier=4) if with_will and self._v5 else None
            self._client.disconnect(reason)
            try:
                async with asyncio.timeout(timeout_s):
                    await self._ended.wait()
            except TimeoutError:
                pass
        self.abort()

    def abort(self) -> None:
        """Close the socket as it is; harmless when repeated. The broker publishes the will."""
        self._fail(LinkError("closed by us"))

    @property
    def live(self) -> bool:
        """Whether CONNACK came and nothing has ended the connection since."""
        return self._accepted and self._error is None

    # for the owner task

    def publish(self, message: Message) -> int | None:
        """Hand a message over; its packet id, or None where it isn't sent now (link lost, id still in use)."""
        if not self.live:
            return None
        packed = _Packed(message.properties) if message.properties != NO_PROPERTIES and self._v5 else None
        retain = message.retain and self.limits.retain
        info = self._client.publish(
            message.topic, message.payload, message.qos, retain, cast("Properties | None", packed)
        )
        if info.rc != mqtt.MQTT_ERR_SUCCESS:
            return None
        if message.qos:
            self.in_flight += 1
        return info.mid

    async def subscribe(self, filters: Sequence[str], qos: int = 1, *, retained: Collection[str] = ()) -> list[int]:
        """Subscribe and wait for the SUBACK: one reason code for each filter, 0x80 and above is a refusal.

        `retained`: filters of which what the broker keeps is wanted, and nothing of our own; 3.1.1 sends both anyway.
        """
        wanted: list[Any] = [(name, _options(qos, kept=name in retained) if self._v5 else qos) for name in filters]
        code, mid = self._client.subscribe(wanted)
        if code != mqtt.MQTT_ERR_SUCCESS or mid is None:
            raise self._error or LinkError("not connected")
        done: asyncio.Future[list[int]] = self._loop.create_future()
        self._subscribed[mid] = done
        try:
            async with asyncio.timeout(SUBACK_TIMEOUT_S):
                granted: list[int] = await done
                return granted
        except TimeoutError as error:
            raise LinkError(f"no SUBACK within {SUBACK_TIMEOUT_S:g} s") from error
        finally:
            self._subscribed.pop(mid, None)

    def take_acks(self) -> deque[tuple[int, int]]:
        """(packet id, reason code) of each PUBACK since the last call, in order."""
        acks, self._acks = self._acks, deque()
        self.in_flight -= len(acks)
        return acks

    def take_messages(self, count: int | None = None) -> Iterator[Incoming]:
        """The messages received, in order, at most `count`; each is acknowledged when it is taken."""
        waiting = len(self.inbox)
        for _ in range(waiting if count is None else min(count, waiting)):
            message = self.inbox.take()
            self._client.ack(message.mid, message.qos)
            yield message

    @property
    def blocked(self) -> bool:
        """Whether bytes handed over still wait for the socket; QoS 0 must wait, since paho queues without bound."""
        return self._client.want_write()

    def wake(self) -> None:
        """Let `wait` return: there is something to do."""
        self._wake.set()

    async def wait(self) -> None:
        """Wait until something came or `wake` was called, a second at most; LinkError once the link is lost."""
        self.turns += 1
        await self._wake.wait()
        self._wake.clear()
        if self._error is not None:
            raise self._error

    # what paho calls

    def _make_client(self) -> Client:
        client = new_client(self.plan)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.acknowledged = self._acknowledged
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        client.on_socket_register_write = self._on_register_write
        client.on_socket_unregister_write = self._on_unregister_write
        client.on_socket_close = self._on_socket_close
        return client

    def _on_connect(
        self, _client: mqtt.Client, _data: Any, _flags: Any, code: ReasonCode, properties: Properties | None
    ) -> None:
        if self._connack.done():
            return
        if code.is_failure:
            self._connack.set_exception(refusal(code.value, str(code)))
        else:
            self._accepted = True
            self._connack.set_result(properties)

    def _on_disconnect(
        self, _client: mqtt.Client, _data: Any, flags: mqtt.DisconnectFlags, code: ReasonCode, _properties: Any
    ) -> None:
        self._fail(ending(code.value, str(code), by_broker=flags.is_disconnect_packet_from_server))

    def _acknowledged(self, mid: int, code: int) -> None:
        self._acks.append((mid, code))
        self._wake.set()

    def _on_subscribe(self, _c: mqtt.Client, _data: Any, mid: int, codes: list[ReasonCode], _properties: Any) -> None:
        done = self._subscribed.get(mid)
        if done is not None and not done.done():
            done.set_result([code.value for code in codes])

    def _on_message(self, _client: mqtt.Client, _data: Any, message: mqtt.MQTTMessage) -> None:
        properties = message.properties
        incoming = Incoming(
            message.topic,
            bytes(message.payload),
            message.retain,
            getattr(properties, "ResponseTopic", ""),
            getattr(properties, "CorrelationData", None),
            message.qos,
            message.mid,
        )
        if self.inbox.put(incoming):
            self._wake.set()
        else:
            self._client.ack(message.mid, message.qos)

    def _on_register_write(self, _client: mqtt.Client, _data: Any, sock: Any) -> None:
        if self._attached:
            self._loop.add_writer(sock, self._write)

    def _on_unregister_write(self, _client: mqtt.Client, _data: Any, sock: Any) -> None:
        if self._attached:
            self._loop.remove_writer(sock)
            if self.wake_when_written:
                self._wake.set()

    def _on_socket_close(self, _client: mqtt.Client, _data: Any, sock: Any) -> None:
        if self._attached:
            self._loop.remove_reader(sock)
            self._attached = False

    # what the loop calls

    def _read(self) -> None:
        try:
            self._client.loop_read()
            while self._client.buffered:  # no selector sees what lies in our buffer or in TLS' own
                self._client.loop_read()
        except _MALFORMED as error:
            self._fail(LinkError(f"the broker sent no valid MQTT: {error}"))

    def _write(self) -> None:
        try:
            self._client.loop_write()
        except _MALFORMED as error:
            self._fail(LinkError(f"connection lost: {error}"))

    def _tick(self) -> None:
        self._timer = self._loop.call_later(1.0, self._tick)
        self._client.loop_misc()
        self._wake.set()  # the owner looks at its own deadlines

    def _fail(self, error: LinkError) -> None:
        if self._error is not None:
            return
        self._error = error
        self._ended.set()
        if self._timer is not None:
            self._timer.cancel()
        sock = self._client.socket()
        if sock is not None:
            if self._attached:
                self._attached = False
                self._loop.remove_reader(sock)
                self._loop.remove_writer(sock)
            sock.close()
        waiting: list[asyncio.Future[Any]] = [self._connack, *self._subscribed.values()]
        for future in waiting:
            if not future.done():
                future.set_exception(error)
                future.exception()  # whoever waits sees it; nobody waiting is no fault
        self._wake.set()


def _options(qos: int, *, kept: bool) -> SubscribeOptions:
    handling = SubscribeOptions.RETAIN_SEND_ON_SUBSCRIBE if kept else SubscribeOptions.RETAIN_DO_NOT_SEND
    return SubscribeOptions(qos, noLocal=kept, retainAsPublished=True, retainHandling=handling)
