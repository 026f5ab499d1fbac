"""Who watches the frames of which device: people through the control socket, and the log where it is set to debug."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from functools import partial
from typing import Final

log = logging.getLogger(__name__)

MOST: Final = 8  # watchers of one device

Sink = Callable[[str], None]


class Traces:
    """Joins the watchers of a device into the one sink its source takes."""

    def __init__(self, switch: Callable[[str, Sink | None], bool]) -> None:
        self._switch = switch  # gives a device's source its sink, None for none; False where there is no such device
        self._watchers: dict[str, tuple[Sink, ...]] = {}
        self._logged: dict[str, Sink] = {}

    def watch(self, device: str, sink: Sink) -> bool:
        """Send a line per frame from now on; False where there is no such device."""
        self._watchers[device] = (*self._watchers.get(device, ()), sink)[-MOST:]
        if self._apply(device):
            return True
        self.leave(device, sink)
        return False

    def leave(self, device: str, sink: Sink) -> None:
        """Send that watcher no more."""
        left = tuple(other for other in self._watchers.get(device, ()) if other is not sink)
        if left:
            self._watchers[device] = left
        else:
            self._watchers.pop(device, None)
        self._apply(device)

    def log_frames(self, devices: Iterable[str]) -> None:
        """These devices' frames go to the log from now on, and no others'."""
        before = self._logged
        self._logged = {device: partial(_log, device) for device in devices}
        for device in before.keys() | self._logged.keys():
            self._apply(device)

    def renew(self) -> None:
        """Give the sinks out again: a reload makes new sources, and some know their devices only once they run."""
        for device in self._watchers.keys() | self._logged.keys():
            self._apply(device)

    def _apply(self, device: str) -> bool:
        sinks = self._watchers.get(device, ())
        if device in self._logged:
            sinks = (*sinks, self._logged[device])
        return self._switch(device, partial(_to_all, sinks) if sinks else None)


def _to_all(sinks: tuple[Sink, ...], line: str) -> None:
    for sink in sinks:
        sink(line)


def _log(device: str, line: str) -> None:
    log.debug("%s: %s", device, line, extra={"device": device})
