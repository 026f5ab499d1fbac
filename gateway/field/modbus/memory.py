"""What was learned of a device, kept over restarts in the state directory. A disk that refuses costs only that."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Memory:
    """A small JSON file. `whose` names the device behind it: another device at the name has learned nothing yet."""

    file: Path
    whose: str

    def recall(self) -> Any:
        """What was kept for this device, else an empty memory."""
        try:
            document = json.loads(self.file.read_text(encoding="ascii"))
        except (OSError, ValueError):
            return _EMPTY
        return document if isinstance(document, dict) and document.get("device") == self.whose else _EMPTY

    def keep(self, document: dict[str, object]) -> None:
        """Replace the file."""
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            new = self.file.with_suffix(".new")
            new.write_text(json.dumps({"device": self.whose} | document), encoding="ascii")
            new.replace(self.file)
        except OSError as error:
            log.info("%s: what the device refuses can't be kept: %s", self.file, error)


_EMPTY: dict[str, dict[str, object]] = {"refused": {}, "cuts": {}}
