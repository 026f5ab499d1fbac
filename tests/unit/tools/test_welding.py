from __future__ import annotations

import numpy as np

from gateway.tools.plant import scale_line, show_meter, show_press
from gateway.tools.simulation.registers import Image
from gateway.tools.simulation.welding import CYCLE_S, PHASES, WeldingCell


def _history(seed: int, seconds: float = 120.0, dt_s: float = 0.05) -> list[WeldingCell]:
    cell = WeldingCell(seed)
    rows = []
    for _ in range(round(seconds / dt_s)):
        cell.step(dt_s)
        copy = WeldingCell.__new__(WeldingCell)
        copy.__dict__.update(cell.__dict__)
        rows.append(copy)
    return rows


def test_equal_seeds_give_equal_plants() -> None:
    assert [row.temperature for row in _history(5, 20)] == [row.temperature for row in _history(5, 20)]
    assert [row.temperature for row in _history(5, 20)] != [row.temperature for row in _history(6, 20)]


def test_each_cycle_makes_one_part() -> None:
    rows = _history(1, seconds=10 * CYCLE_S + 0.1)
    assert rows[-1].parts - WeldingCell(1).parts == 10
    assert {row.phase for row in rows} == {name for name, _ in PHASES}


def test_current_flows_only_while_welding() -> None:
    rows = _history(2)
    welding = np.array([row.phase == "weld" and row.running for row in rows])
    current = np.array([row.weld_current for row in rows])
    assert np.all(current[~welding] == 0.0)
    assert 9_700 < current[welding].mean() < 9_900


def test_signals_stay_where_a_plant_would_keep_them() -> None:
    rows = _history(3, seconds=1200.0, dt_s=0.2)
    temperature = np.array([row.temperature for row in rows])
    assert temperature.min() > 20.0
    assert temperature.max() < 900.0
    volts = np.array([row.volts for row in rows])
    assert volts.min() > 210.0
    assert volts.max() < 245.0
    assert any(row.alarm_coolant for row in rows)
    assert np.all(np.diff([row.energy for row in rows]) > 0.0)


def test_registers_carry_the_cell() -> None:
    cell, press, meter = WeldingCell(4), Image(), Image()
    for _ in range(100):
        cell.step(0.05)
    show_press(cell, press)
    show_meter(cell, meter)
    low, high = press.get("holding", 100, 2)
    assert np.frombuffer(np.array([high, low], ">u2").tobytes(), ">f4")[0] == np.float32(cell.temperature)
    assert press.get("holding", 102) == [round(cell.coolant * 10)]
    assert press.get("coil", 1) == [int(cell.clamped)]
    energy = meter.get("input", 16, 2)
    assert energy[0] * 65536 + energy[1] == int(cell.energy)


def test_a_written_setpoint_moves_the_current() -> None:
    cell, press = WeldingCell(4), Image()
    show_press(cell, press)
    assert press.answer(bytes.fromhex("0600821388")) == bytes.fromhex("0600821388")
    show_press(cell, press)
    assert cell.setpoint == 5000.0


def test_scale_line_has_the_documented_form() -> None:
    cell = WeldingCell(4)
    assert scale_line(cell) == b"ST,GS,+0000.000kg\r\n"
