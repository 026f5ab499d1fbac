"""Opening a connection: DNS, TCP, TLS and the web socket handshake block, so they run in a daemon thread of their own.

The thread ends with the attempt. It may outlive the caller's patience (DNS knows no time limit), never the process:
asyncio's own executor would hold the exit up.
"""

from __future__ import annotations

import asyncio
import ssl
import threading  # noqa: TID251  # this module owns the connecting threads
from dataclasses import dataclass, field
from typing import Final

from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from gateway.errors import LinkError
from gateway.upstream.client import BROKEN, MAX_PACKET, Client
from gateway.upstream.plan import Plan
from gateway.upstream.settings import Tls

HANDSHAKE_TIMEOUT_S: Final = 5.0  # TCP to whichever address answers first; each step of TLS
RECEIVE_MAXIMUM: Final = 64  # QoS 1 messages that may wait here unacknowledged: the broker keeps the others
MAX_HANGING: Final = 4  # attempts given up whose thread has not ended


@dataclass
class _Attempt:
    loop: asyncio.AbstractEventLoop
    done: asyncio.Future[None]
    lock: threading.Lock = field(default_factory=threading.Lock)
    given_up: bool = False


class Dialer:
    """Connects the clients of one upstream, one at a time."""

    def __init__(self) -> None:
        self._threads: list[threading.Thread] = []

    async def dial(self, client: Client, plan: Plan, timeout_s: float) -> None:
        """Connect the client as the plan says, in a thread; LinkError where it fails or takes longer.

        Given up, whatever socket comes about later is closed; no CONNECT goes out on it.
        """
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        if len(self._threads) >= MAX_HANGING:
            raise LinkError(f"{MAX_HANGING} name lookups hang")
        loop = asyncio.get_running_loop()
        attempt = _Attempt(loop, loop.create_future())
        thread = threading.Thread(target=_run, args=(attempt, client, plan), name="mqtt-connect", daemon=True)
        self._threads.append(thread)
        thread.start()
        try:
            done, _ = await asyncio.wait([attempt.done], timeout=timeout_s)
            if not done:
                raise LinkError(f"no connection within {timeout_s:g} s")
            attempt.done.result()
        except BROKEN as error:
            raise LinkError(describe(error)) from error
        finally:
            with attempt.lock:
                attempt.given_up = not attempt.done.done()
            if attempt.given_up:
                client.give_up()


def _run(attempt: _Attempt, client: Client, plan: Plan) -> None:
    error: BaseException | None = RuntimeError("the connecting thread died")
    try:
        connect(client, plan)
        error = None
    except BROKEN as broken:
        error = broken
    finally:
        with attempt.lock:
            if not attempt.given_up:
                attempt.loop.call_soon_threadsafe(_settle, attempt.done, error)
            elif (sock := client.socket()) is not None:
                sock.close()


def _settle(done: asyncio.Future[None], error: BaseException | None) -> None:
    if error is None:
        done.set_result(None)
    else:
        done.set_exception(error)
        done.exception()  # whoever waits sees it; nobody waiting is no fault


def new_client(plan: Plan) -> Client:
    """Paho's client for one connection; its callbacks are the caller's to set."""
    v5 = plan.protocol == "5"
    client = Client(
        CallbackAPIVersion.VERSION2,
        plan.client_id,
        clean_session=None if v5 else True,
        protocol=MQTTProtocolVersion.MQTTv5 if v5 else MQTTProtocolVersion.MQTTv311,
        reconnect_on_failure=False,
        manual_ack=True,
    )
    client.max_inflight_messages = 0  # paho's own window scans all queued messages at every PUBACK
    client.connect_timeout = HANDSHAKE_TIMEOUT_S
    client.endpoint = plan.endpoint
    if plan.will is not None:
        client.will_set(plan.will.topic, plan.will.payload, plan.will.qos, plan.will.retain)
    return client


def connect(client: Client, plan: Plan) -> None:
    """Open the connection and queue CONNECT; blocks. Secrets and certificates are read here: disks may be slow."""
    endpoint = plan.endpoint
    if plan.username is not None:
        client.username_pw_set(plan.username, None if plan.password is None else plan.password.read())
    if endpoint.tls:
        client.tls_set_context(tls_context(plan.tls))
    if plan.protocol != "5":
        client.connect(endpoint.host, endpoint.port, plan.keepalive_s)
        return
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho left it out
    properties.SessionExpiryInterval = 0
    properties.ReceiveMaximum = RECEIVE_MAXIMUM
    properties.MaximumPacketSize = MAX_PACKET
    client.connect(endpoint.host, endpoint.port, plan.keepalive_s, clean_start=True, properties=properties)


def describe(error: BaseException) -> str:
    """One line for people."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate refused: {error.verify_message}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__


def tls_context(tls: Tls | None) -> ssl.SSLContext:
    """A fresh context each time (certificates get renewed): server and host name verified, TLS 1.2 at least.

    OSError (ssl.SSLError included) where a file can't be used.
    """
    tls = tls or Tls()
    context = ssl.create_default_context(cafile=None if tls.ca is None else str(tls.ca))
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if tls.certificate is not None:
        # An encrypted key would make OpenSSL ask the terminal for its password: an empty answer fails instead.
        context.load_cert_chain(tls.certificate, tls.key, password=lambda: "")
    if tls.alpn:
        context.set_alpn_protocols(tls.alpn)
    return context
