"""What is said beside the blocks: states, dictionaries, command results. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from gateway.upstream.message import Message

MAX_ANSWERS: Final = 1000


@dataclass(slots=True)
class Outbox:
    """Messages in order; of a retained topic only the newest, of answers the newest MAX_ANSWERS."""

    _messages: dict[str | int, Message] = field(default_factory=dict)
    _count: int = 0

    def put(self, message: Message) -> None:
        """Add a message; a retained one takes the place of its topic's older one, at the end."""
        if message.retain:
            self._messages.pop(message.topic, None)
            self._messages[message.topic] = message
            return
        self._count += 1
        self._messages[self._count] = message
        answers = [key for key in self._messages if isinstance(key, int)]
        if len(answers) > MAX_ANSWERS:
            del self._messages[answers[0]]

    def first(self) -> Message | None:
        """The message to send next."""
        return next(iter(self._messages.values()), None)

    def drop_first(self) -> None:
        """The first message was handed over."""
        self._messages.pop(next(iter(self._messages)))

    def restart(self, unsaid: Iterable[Message]) -> None:
        """The session is over: what is retained is said anew, answers wait, the `unsaid` ones too."""
        waiting = [message for message in self._messages.values() if not message.retain]
        self._messages.clear()
        for message in (*(message for message in unsaid if not message.retain), *waiting):
            self.put(message)

    def __len__(self) -> int:
        return len(self._messages)
