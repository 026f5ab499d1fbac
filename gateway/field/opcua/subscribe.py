"""A subscribed device: one subscription, every publish answer as one set of columns.

create subscription -> create items in chunks -> fill the gap from history -> publish answers, until the link is lost
A refused node is bad/exception and tried again each minute. Two keep-alives without a word: LinkError.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from math import ceil
from typing import Final

import numpy as np
from asyncua import ua
from asyncua.ua.attribute_ids import AttributeIds

from gateway.errors import LinkError
from gateway.field.conversion import Rows
from gateway.field.opcua.feed import Feed
from gateway.field.opcua.history import fill
from gateway.field.opcua.session import FOREIGN, Session, in_parts, translated

KEEP_ALIVE_S: Final = 5.0
RETRY_S: Final = 60.0
INBOX: Final = 16  # publish answers; when full, the library asks for no more until one is taken
MOST_NOTIFICATIONS: Final = 10_000

log = logging.getLogger(__name__)


class Subscription:
    """One subscription on the server; `silence_s` is how long it may say nothing at all."""

    def __init__(self, session: Session, feed: Feed) -> None:
        self._session, self._feed = session, feed
        self._inbox: asyncio.Queue[ua.PublishResult] = asyncio.Queue(INBOX)
        self._id = 0
        self._name, self._queue = feed.device.name, feed.settings.queue_size(feed.device.every)
        self.silence_s = 2 * KEEP_ALIVE_S

    async def create(self) -> None:
        """Create it with a keep-alive of KEEP_ALIVE_S and three times that as lifetime."""
        interval = self._feed.settings.publish
        alive = max(1, ceil(KEEP_ALIVE_S / interval))
        parameters = ua.CreateSubscriptionParameters(
            RequestedPublishingInterval=interval * 1000,
            RequestedLifetimeCount=3 * alive,
            RequestedMaxKeepAliveCount=alive,
            MaxNotificationsPerPublish=MOST_NOTIFICATIONS,
            PublishingEnabled=True,
        )
        with translated("creating a subscription"):
            answer = await self._session.services.create_subscription(parameters, self._inbox.put)
        self._id = answer.SubscriptionId
        revised = answer.RevisedPublishingInterval / 1000 * answer.RevisedMaxKeepAliveCount
        self.silence_s = 2 * max(revised, KEEP_ALIVE_S)

    async def monitor(self, rows: Rows) -> dict[int, str]:
        """Create the items of some rows, in chunks the server allows; the refused ones with the reason."""
        nodes = {row: self._session.node(self._feed.device.tags[row].address) for row in rows.tolist()}
        items = [self._item(row, node) for row, node in nodes.items() if node is not None]
        refused = {row: "unknown namespace" for row, node in nodes.items() if node is None}

        async def create(part: slice) -> None:
            refused.update(await self._create_items(items[part]))

        with translated("creating monitored items"):
            await in_parts(self._session, "items", len(items), create)
        return refused

    async def _create_items(self, items: list[ua.MonitoredItemCreateRequest]) -> dict[int, str]:
        """Create items in one call; the refused rows with the reason."""
        parameters = ua.CreateMonitoredItemsParameters(self._id, ua.TimestampsToReturn.Both, items)
        refused: dict[int, str] = {}
        results = await self._session.services.create_monitored_items(parameters)
        for item, result in zip(items, results, strict=True):
            if not result.StatusCode.is_good():
                refused[item.RequestedParameters.ClientHandle] = result.StatusCode.name
            elif result.RevisedQueueSize < self._queue:
                self._queue = result.RevisedQueueSize
                log.warning("%s: the server holds only %d values between publishes", self._name, self._queue)
        return refused

    def _item(self, row: int, node: ua.NodeId) -> ua.MonitoredItemCreateRequest:
        return ua.MonitoredItemCreateRequest(
            ItemToMonitor=ua.ReadValueId(NodeId=node, AttributeId=AttributeIds.Value),
            MonitoringMode=ua.MonitoringMode.Reporting,
            RequestedParameters=ua.MonitoringParameters(
                ClientHandle=row,
                SamplingInterval=self._feed.device.every * 1000,
                QueueSize=self._feed.settings.queue_size(self._feed.device.every),
                DiscardOldest=True,
            ),
        )

    async def next(self, within_s: float) -> ua.PublishResult | None:
        """The next publish answer, keep-alives too; None where none came within that time."""
        try:
            async with asyncio.timeout(within_s):
                return await self._inbox.get()
        except TimeoutError:
            return None

    async def delete(self) -> None:
        """Take it off a server that is still there."""
        if self._id and self._session.alive:
            with suppress(*FOREIGN):
                async with asyncio.timeout(1.0):
                    await self._session.services.delete_subscriptions([self._id])


class MessageNumbers:
    """The numbers of a subscription's messages (part 4, 5.13.1.1): keep-alives announce the next one, data takes it."""

    def __init__(self) -> None:
        self._next = 1
        self.heard_ns = 0  # UTC of the newest message

    def missing(self, message: ua.NotificationMessage, now_ns: int) -> int:
        """How many messages with data were never seen before this one."""
        number = int(message.SequenceNumber)
        gap = number - self._next if number >= self._next else 0
        self._next = number + 1 if message.NotificationData else number
        self.heard_ns = now_ns
        return gap


async def subscribe(session: Session, feed: Feed) -> None:
    """Serve a device until cancelled; LinkError when the subscription falls silent or ends."""
    loop = asyncio.get_running_loop()
    clock = feed.context.clock
    if feed.settings.history:
        await fill(session, feed, within_s=RETRY_S)
    subscription, numbers = Subscription(session, feed), MessageNumbers()
    try:
        await subscription.create()
        refused = await subscription.monitor(feed.rows())
        feed.refuse(refused, clock.now_ns())
        feed.name_refused(refused)
        feed.worked()
        answer = await subscription.next(subscription.silence_s)
        if feed.settings.history:
            await fill(session, feed, within_s=KEEP_ALIVE_S)
        retry = heard = loop.time()
        retry += RETRY_S
        while True:
            if answer is not None:
                heard = loop.time()
                publish(feed, answer, numbers)
            until = heard + subscription.silence_s
            if until <= loop.time():
                raise LinkError(f"{feed.device.name}: the subscription is silent for {subscription.silence_s:g} s")
            if refused and loop.time() >= retry:
                refused = await subscription.monitor(np.array(sorted(refused), np.intp))
                feed.refuse(refused, clock.now_ns())
                feed.name_refused(refused)
                retry = loop.time() + RETRY_S
            answer = await subscription.next((min(until, retry) if refused else until) - loop.time())
    finally:
        await subscription.delete()


def publish(feed: Feed, answer: ua.PublishResult, numbers: MessageNumbers) -> None:
    """Hand on one publish answer; LinkError where it says that the subscription is over."""
    received_ns = feed.context.clock.now_ns()
    since_ns = numbers.heard_ns or received_ns
    if missing := numbers.missing(answer.NotificationMessage, received_ns):
        feed.lost(missing, since_ns, received_ns)
    for part in answer.NotificationMessage.NotificationData or ():
        if isinstance(part, ua.DataChangeNotification):
            items = part.MonitoredItems or ()
            rows = np.fromiter((item.ClientHandle for item in items), np.intp, len(items))
            if len(items) and rows.max() >= len(feed.device.tags):
                raise LinkError(f"{feed.device.name}: the server sent an item nobody asked for")
            feed.take(rows, [item.Value for item in items], received_ns)
        elif isinstance(part, ua.StatusChangeNotification):
            raise LinkError(f"{feed.device.name}: the server ended the subscription: {part.Status.name}")
