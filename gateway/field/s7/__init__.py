"""Siemens S7 (300, 400, 1200, 1500) through python-snap7: data blocks, markers, inputs and outputs.

Shipped like a third party's driver: found through the entry-point group `gateway.field`, with the extra `s7`.
On a 1200 or 1500 the PLC must allow PUT/GET, and data blocks must not be "optimized".
"""

from __future__ import annotations

from gateway.field.contract import Driver
from gateway.field.s7.settings import S7Connection
from gateway.field.s7.source import S7Source

DRIVER = Driver("s7", S7Connection, S7Source, ("host", "port", "rack", "slot"), polled=True)
