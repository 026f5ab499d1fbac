"""What came from the broker and waits for its owner: bounded in number and bytes. Pure."""

from __future__ import annotations

from collections import deque
from typing import Final

from gateway.upstream.message import Incoming

MAX_MESSAGES: Final = 1000  # QoS 1 is bounded by our Receive Maximum; this bounds QoS 0 and 3.1.1
MAX_BYTES: Final = 8 << 20


class Inbox:
    """Messages in order; `dropped` counts those that found no room."""

    def __init__(self) -> None:
        self.dropped = 0
        self._messages: deque[Incoming] = deque()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._messages)

    def put(self, message: Incoming) -> bool:
        """Whether there was room for the message."""
        size = len(message.payload)
        if len(self._messages) >= MAX_MESSAGES or (self._messages and self._bytes + size > MAX_BYTES):
            self.dropped += 1
            return False
        self._messages.append(message)
        self._bytes += size
        return True

    def take(self) -> Incoming:
        """The oldest message; IndexError where there is none."""
        message = self._messages.popleft()
        self._bytes -= len(message.payload)
        return message

    def take_dropped(self) -> int:
        """How many were dropped since the last call."""
        dropped, self.dropped = self.dropped, 0
        return dropped
