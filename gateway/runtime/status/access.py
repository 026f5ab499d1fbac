"""Who may look: a token as `Authorization: Bearer`, or a login that a signed cookie remembers; from where. Pure."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

COOKIE: Final = "gateway_session"
SESSION_S: Final = 12 * 3600
FAILURES: Final = 10  # wrong tokens a minute from one address before it has to wait
WAIT_S: Final = 60.0
_ADDRESSES: Final = 256


class Access:
    """Checks tokens and sessions. Without a token everybody on this machine may look."""

    def __init__(
        self,
        token: str | None,
        now: Callable[[], float] = time.time,
        refused: Callable[[str], None] | None = None,  # called with the address a wrong token came from
    ) -> None:
        self._digest = None if token is None else _digest(token)
        self._now = now
        self._refused = refused
        self._key = secrets.token_bytes(32)
        self._failures: OrderedDict[str, tuple[float, int]] = OrderedDict()

    @property
    def required(self) -> bool:
        """Whether a token is asked for at all."""
        return self._digest is not None

    def allowed(self, authorization: str, cookie: str, address: str) -> bool:
        """Whether a request with these headers may see everything; a wrong bearer token counts as a failure."""
        if not self.required or self._session(cookie):
            return True
        scheme, _, token = authorization.partition(" ")
        return scheme.lower() == "bearer" and self.token(token.strip(), address)

    def token(self, token: str, address: str) -> bool:
        """Whether it is the token; after ten wrong ones in a minute an address is refused for a while."""
        if self._digest is None:
            return True
        if self.blocked(address):
            self._tell(address)
            return False
        if hmac.compare_digest(_digest(token), self._digest):
            return True
        self._failed(address)
        return False

    def blocked(self, address: str) -> bool:
        """Whether an address has to wait before its tokens are looked at again."""
        since, count = self._failures.get(_subject(address), (0.0, 0))
        return count >= FAILURES and self._now() - since < WAIT_S

    def session(self) -> str:
        """A cookie's value that is good for twelve hours, or until the daemon starts again."""
        until = str(int(self._now()) + SESSION_S)
        return f"{until}.{self._sign(until)}"

    def _session(self, cookie: str) -> bool:
        until, _, signature = cookie.partition(".")
        if not until.isascii() or not until.isdecimal() or len(until) > 16:
            return False
        return hmac.compare_digest(signature.encode(), self._sign(until).encode()) and int(until) > self._now()

    def _sign(self, text: str) -> str:
        return hmac.new(self._key, text.encode(), hashlib.sha256).hexdigest()

    def _tell(self, address: str) -> None:
        if self._refused is not None:
            self._refused(address)

    def _failed(self, address: str) -> None:
        self._tell(address)
        now, subject = self._now(), _subject(address)
        since, count = self._failures.pop(subject, (now, 0))
        self._failures[subject] = (now, 1) if now - since >= WAIT_S else (since, count + 1)
        while len(self._failures) > _ADDRESSES:
            self._failures.popitem(last=False)


def is_own_name(host: str, machine: str) -> bool:
    """Whether a Host header names this machine by address or its own name, not by a name somebody else points here.

    A web page of a stranger can make its own name lead to 127.0.0.1 and read what a browser may read there.
    """
    name = host.strip().lower()
    name = name[1:].partition("]")[0] if name.startswith("[") else name.partition(":")[0]
    if name in {"", "localhost", machine.lower()} or name.endswith(".localhost"):
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def is_own_page(site: str, origin: str, host: str) -> bool:
    """Whether a form comes from our own page, by its Sec-Fetch-Site, Origin and Host headers, not from a stranger's.

    Browsers send the first only to addresses they trust; a program that is no browser sends neither.
    """
    if site:
        return site in {"same-origin", "none"}
    return not origin or origin.partition("://")[2].lower() == host.lower()


def _subject(address: str) -> str:
    """Whose guesses count together: an IPv6 network of 64 bits is one customer's to choose from."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address):
        return str(parsed.ipv4_mapped or ipaddress.IPv6Network((parsed, 64), strict=False))
    return address


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode(errors="replace")).digest()
