"""What goes on in a welding cell: cycles, heat, drift, noise, a counter, alarms. Pure and repeatable from a seed.

load 3 s (door open) -> clamp 1 s -> weld 2.5 s -> hold 1 s -> release 0.5 s -> load ...
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Final

PHASES: Final = (("load", 3.0), ("clamp", 1.0), ("weld", 2.5), ("hold", 1.0), ("release", 0.5))
CYCLE_S: Final = sum(length for _, length in PHASES)
_ENDS: Final = tuple(accumulate(length for _, length in PHASES))
_ZONES: Final = 8
_PARTS_PER_PROGRAM: Final = 5
_AMBIENT: Final = 24.0
_OVERHEAT: Final = 420.0
_COOLANT_LOW: Final = 6.0


@dataclass
class Walk:
    """A slow drift around a middle: an Ornstein-Uhlenbeck walk with a spread (one sigma) and a time constant in s."""

    middle: float
    spread: float
    time_constant: float
    rng: random.Random
    value: float = field(init=False)

    def __post_init__(self) -> None:
        self.value = self.rng.gauss(self.middle, self.spread)

    def step(self, dt_s: float) -> float:
        """Go on by `dt_s`; the new value."""
        pull = math.exp(-dt_s / self.time_constant)
        kick = self.spread * math.sqrt(1.0 - pull * pull)
        self.value = self.middle + (self.value - self.middle) * pull + self.rng.gauss(0.0, kick)
        return self.value


def _towards(value: float, target: float, time_constant: float, dt_s: float) -> float:
    return target + (value - target) * math.exp(-dt_s / time_constant)


class WeldingCell:
    """One cell; `step` moves it on, the attributes are its present state in engineering units."""

    def __init__(self, seed: int = 3) -> None:
        rng = random.Random(seed)
        self._rng = rng
        self._supply = [Walk(230.0, 1.2, 60.0, rng) for _ in range(3)]
        self._grid = Walk(50.0, 0.015, 30.0, rng)
        self._flow = Walk(9.0, 0.3, 20.0, rng)
        self._drift = [Walk(180.0 + 4.0 * zone, 1.5, 120.0, rng) for zone in range(_ZONES)]
        self._leak_s = 0.0
        self.elapsed_s = 0.0
        self.phase = "load"
        self.parts = 48_210
        self.setpoint = 9_800.0  # A, what the controller was told
        self.temperature = 250.0  # of the electrode, degC
        self.coolant = 28.0
        self.flow = 9.0  # L/min
        self.force = 0.0  # kN
        self.weld_current = 0.0  # A
        self.speed = 0.0  # rpm
        self.zones = [walk.value for walk in self._drift]
        self.volts = [230.0] * 3
        self.amps = [6.0] * 3
        self.power = 4_000.0  # W
        self.frequency = 50.0
        self.energy = 7_412_000.0  # Wh
        self.arc_current = 0.0  # of the robot, A
        self.arc_voltage = 0.0
        self.wire_feed = 0.0  # m/min
        self.weight = 0.0  # kg on the scale
        self.weight_steady = True

    def step(self, dt_s: float) -> None:
        """Go on by `dt_s` seconds."""
        parts_before = int(self.elapsed_s // CYCLE_S)
        self.elapsed_s += dt_s
        self.parts += int(self.elapsed_s // CYCLE_S) - parts_before
        self.phase = _phase(self.elapsed_s)
        self._press(dt_s)
        self._cool(dt_s)
        self._robot(dt_s)
        self._meter(dt_s)
        self._scale(dt_s)

    @property
    def state(self) -> int:
        """The phase as a number, 0 = load."""
        return next(number for number, (name, _) in enumerate(PHASES) if name == self.phase)

    @property
    def door_open(self) -> bool:
        """The light curtain is only crossed while parts are loaded."""
        return self.phase == "load" and 0.4 < self.elapsed_s % CYCLE_S < 2.4

    @property
    def clamped(self) -> bool:
        """The part is held."""
        return self.phase in {"clamp", "weld", "hold"}

    @property
    def running(self) -> bool:
        """Automatic mode; a coolant alarm stops it until the flow is back."""
        return not self.alarm_coolant

    @property
    def alarm_overheat(self) -> bool:
        """The electrode is too hot."""
        return self.temperature > _OVERHEAT

    @property
    def alarm_coolant(self) -> bool:
        """Too little coolant."""
        return self.flow < _COOLANT_LOW

    @property
    def program(self) -> str:
        """What the robot welds; changes with the order."""
        return ("door-left", "door-right", "sill", "tunnel")[self.parts // _PARTS_PER_PROGRAM % 4]

    def _press(self, dt_s: float) -> None:
        noise = self._rng.gauss
        welding = self.phase == "weld" and self.running
        self.force = _towards(self.force, 42.0 if self.clamped else 0.0, 0.15, dt_s) + noise(0.0, 0.02)
        self.weld_current = max(0.0, self.setpoint + noise(0.0, 15.0)) if welding else 0.0
        heat = (self.weld_current / 9_800.0) ** 2 * 40.0  # K/s
        self.temperature = _towards(self.temperature, _AMBIENT, 25.0, dt_s) + heat * dt_s + noise(0.0, 0.08)
        self.speed = _towards(self.speed, 1_180.0 if self.phase in {"weld", "hold"} else 600.0, 0.4, dt_s)
        self.zones = [walk.step(dt_s) + noise(0.0, 0.05) for walk in self._drift]

    def _cool(self, dt_s: float) -> None:
        if self._leak_s <= 0.0 and self._rng.random() < dt_s / 300.0:
            self._leak_s = self._rng.uniform(4.0, 12.0)
        self._leak_s -= dt_s
        wanted = 3.5 if self._leak_s > 0.0 else self._flow.step(dt_s)
        self.flow = _towards(self.flow, wanted, 0.8, dt_s)
        target = 20.0 + (self.temperature - _AMBIENT) * 0.03 * 9.0 / max(self.flow, 1.0)
        self.coolant = _towards(self.coolant, target, 8.0, dt_s) + self._rng.gauss(0.0, 0.01)

    def _robot(self, dt_s: float) -> None:
        noise = self._rng.gauss
        arc = self.phase == "weld" and self.running
        self.arc_current = _towards(self.arc_current, 185.0 if arc else 0.0, 0.05, dt_s) + (
            noise(0.0, 2.5) if arc else 0.0
        )
        self.arc_voltage = 22.5 + noise(0.0, 0.3) if arc else 0.0
        self.wire_feed = _towards(self.wire_feed, 7.2 if arc else 0.0, 0.2, dt_s)

    def _meter(self, dt_s: float) -> None:
        noise = self._rng.gauss
        load = 6.0 + self.weld_current / 9_800.0 * 48.0 + self.speed / 1_180.0 * 3.0
        sag = load * 0.03
        self.volts = [walk.step(dt_s) - sag + noise(0.0, 0.1) for walk in self._supply]
        self.amps = [load * share + noise(0.0, 0.05) for share in (1.0, 0.97, 1.02)]
        self.power = 0.92 * sum(volts * amps for volts, amps in zip(self.volts, self.amps, strict=True))
        self.frequency = self._grid.step(dt_s)
        self.energy += self.power * dt_s / 3600.0

    def _scale(self, dt_s: float) -> None:
        target = 12.4 if self.clamped else 0.0
        self.weight = _towards(self.weight, target, 0.3, dt_s)
        self.weight_steady = abs(self.weight - target) < 0.05


def _phase(elapsed_s: float) -> str:
    place = elapsed_s % CYCLE_S
    return next(name for (name, _), end in zip(PHASES, _ENDS, strict=True) if place < end)
