"""Readings -> blocks that survive: a memory front, and SQLite behind it for what isn't acknowledged in time."""

from gateway.spool.opening import InUseError
from gateway.spool.settings import SpoolSettings
from gateway.spool.spool import Spool

__all__ = ["InUseError", "Spool", "SpoolSettings"]
