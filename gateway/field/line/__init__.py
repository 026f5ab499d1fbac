"""Line instruments: scales, gauges and meters that send text lines over a serial port or TCP, asked or unasked."""

from __future__ import annotations

from gateway.field.contract import Driver
from gateway.field.line.settings import LineConnection
from gateway.field.line.source import LineSource

LINE = Driver("line", LineConnection, LineSource, ("port", "tcp"))
