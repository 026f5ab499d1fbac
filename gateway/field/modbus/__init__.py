"""Modbus TCP, RTU and RTU over TCP."""

from gateway.field.modbus.driver import MODBUS_RTU, MODBUS_RTU_TCP, MODBUS_TCP

__all__ = ["MODBUS_RTU", "MODBUS_RTU_TCP", "MODBUS_TCP"]
