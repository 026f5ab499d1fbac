"""The three Modbus drivers as the registry takes them."""

from __future__ import annotations

from typing import Final

from gateway.field.contract import Driver
from gateway.field.modbus.settings import ModbusRtu, ModbusRtuTcp, ModbusTcp
from gateway.field.modbus.source import ModbusSource

MODBUS_TCP: Final = Driver("modbus-tcp", ModbusTcp, ModbusSource, ("host", "port"), polled=True)
MODBUS_RTU: Final = Driver("modbus-rtu", ModbusRtu, ModbusSource, ("port",), polled=True)
MODBUS_RTU_TCP: Final = Driver("modbus-rtu-tcp", ModbusRtuTcp, ModbusSource, ("host", "port"), polled=True)
