"""When a device's DDEATH and DBIRTH are due: in order, behind the rows spooled before its link changed. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import NamedTuple


class Change(NamedTuple):
    """A device's link went up or down at `since_ns` (UTC); it became known at `noted_ns`."""

    noted_ns: int
    device: str
    online: bool
    since_ns: int


class Links:
    """Which devices are born for the host, and the changes that wait for the rows before them."""

    def __init__(self) -> None:
        self.born: set[str] = set()
        self._live = False  # births are out, even where every device has died since
        self._down: dict[str, int] = {}  # device -> since
        self._waiting: deque[Change] = deque()

    def is_down(self, device: str) -> bool:
        """Whether the device's link is down now."""
        return device in self._down

    def changed(self, device: str, now_ns: int, *, online: bool, since_ns: int) -> None:
        """The link's state was told; what is no change is passed over."""
        if online != self.is_down(device):
            return
        if online:
            del self._down[device]
        else:
            self._down[device] = since_ns
        if self._live:
            self._waiting.append(Change(now_ns, device, online, since_ns))

    def all_born(self, devices: Iterable[str], now_ns: int) -> None:
        """NBIRTH and all DBIRTHs go out now: devices that are down die behind their spooled rows."""
        self.born, self._live = set(devices), True
        dying = [(device, since) for device, since in self._down.items() if device in self.born]
        self._waiting = deque(Change(now_ns, device, False, since) for device, since in dying)

    def revived(self, device: str, now_ns: int) -> None:
        """A device that counted as dead is born again for rows it left behind; it dies again where it is down."""
        self.born.add(device)
        if device in self._down:
            self._waiting.append(Change(now_ns, device, False, now_ns))

    def due(self, until_ns: int, now_ns: int) -> list[Change]:
        """Take the changes noted until a time (UTC), in order; one noted after now stems from before a clock step."""
        taken = []
        while self._waiting and not until_ns < self._waiting[0].noted_ns <= now_ns:
            taken.append(self._waiting.popleft())
        return taken

    def forget(self) -> None:
        """The connection is over: nothing is born."""
        self.born, self._live = set(), False
        self._waiting.clear()
