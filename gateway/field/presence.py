"""Whether devices are up, told once per change: to the port, the counters and the log."""

from __future__ import annotations

import logging
from collections.abc import Collection

from gateway.field.contract import FieldContext
from gateway.readings import Quality

log = logging.getLogger(__name__)


class Presence:
    """The devices of one bus. Nothing is known of a device before its first `tell`."""

    def __init__(self, context: FieldContext) -> None:
        self._context = context
        self._known: dict[str, bool] = {}

    def tell(self, device: str, failure: Quality | None, text: str) -> None:
        """The device is up (`failure` None), or down with the quality of its tags and the reason in words."""
        counters = self._context.counters.device(device)
        online = failure is None
        word = "" if failure is None else failure.reason
        counters.detail = "" if failure is None else text
        before = self._known.get(device)
        if before == online and counters.reason == word:
            return
        self._known[device] = counters.up = online
        counters.reason = word
        if before == online:
            return
        counters.since_ns = self._context.clock.now_ns()
        # A lost link is warned of once for all its devices, by whoever reopens it.
        level = logging.INFO if online or failure is Quality.BAD_LINK else logging.WARNING
        log.log(level, "%s: %s", device, "answers" if online else text, extra={"device": device})
        self._context.port.link(device, online, word)

    def keep_only(self, devices: Collection[str]) -> None:
        """Forget the devices that left (a reload)."""
        self._known = {device: online for device, online in self._known.items() if device in devices}
