"""Another gateway with our name and client id: a copied memory card. Pure.

A broker that speaks MQTT 5 fully says "taken over". Others just close the older connection, and two twins would throw
each other out for ever. What gives a twin away is the retained state: between two of our sessions somebody else spoke.
"""

from __future__ import annotations

import json
import logging

log = logging.getLogger(__name__)


class Twin:
    """Watches the retained `{gateway}/state` a broker shows at the start of each session but the first."""

    def __init__(self, upstream: str, boot: str) -> None:
        self._upstream = upstream
        self._own = boot
        self._other = ""

    def must_wait(self, state: bytes) -> bool:
        """Whether a twin is certain and it is on us to wait: of two twins the one with the lower boot does.

        Once is no proof: a broker restored from an old copy shows what we said before our own restart. Twice is,
        because our own word stood there in between.
        """
        try:
            boot = json.loads(state)["boot"]
        except (ValueError, TypeError, KeyError, RecursionError):
            return False
        if not isinstance(boot, str) or boot == self._own:
            self._other = ""
            return False
        certain, self._other = boot == self._other, boot
        if certain:
            log.warning("%s: another gateway has our name and client id (boot %s)", self._upstream, boot)
        return certain and self._own < boot
