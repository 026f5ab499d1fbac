"""`gateway demo`: a simulated plant, an embedded broker and the real daemon between them, shown live.

Plant --field buses--> gateway run (child process) --MQTT--> EmbeddedBroker --> observer, counting
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import aiohttp

from gateway.runtime.printable import in_words
from gateway.tools.broker import EmbeddedBroker
from gateway.tools.demo_config import Wiring, find, render, usual_ports
from gateway.tools.demo_daemon import Daemon
from gateway.tools.demo_view import LiveView, PlainView, Scene, ratio, view
from gateway.tools.demo_watch import fetch_figures, observe
from gateway.tools.plant import Plant
from gateway.tools.simulation.ports import alone, free_port

MARK: Final = "edge-gateway-demo"  # a second demo leaves the usual ports to the first
_OPCUA_PORT: Final = 4840
_REFRESH_S: Final = 0.5
_START_S: Final = 180.0  # a cold start compiles every kernel first
_DRAIN_S: Final = 60.0


class DemoError(Exception):
    """The demo did not show what it is for; the text says why."""


@dataclass
class Script:
    """What happens when, in seconds after the first reading arrived. Pure."""

    seconds: float | None
    outage: float | None

    @property
    def pulled_at(self) -> float | None:
        """When the broker's plug is pulled."""
        if self.outage is None:
            return None
        return 6.0 if self.seconds is None else min(6.0, max(2.0, (self.seconds - self.outage) / 3))

    def broker_up(self, elapsed_s: float) -> bool:
        """Whether the script wants the broker reachable."""
        if self.outage is None or self.pulled_at is None:
            return True
        return not self.pulled_at <= elapsed_s < self.pulled_at + self.outage

    def over(self, elapsed_s: float) -> bool:
        """Whether the time is up; never in the middle of the outage."""
        if self.seconds is None:
            return False
        outage_end = 0.0 if self.outage is None or self.pulled_at is None else self.pulled_at + self.outage
        return elapsed_s >= max(self.seconds, outage_end)


@dataclass
class Stage:
    """The running parts, and what the keys ask for."""

    broker: EmbeddedBroker
    daemon: Daemon
    status_port: int
    scene: Scene
    quit: asyncio.Event = field(default_factory=asyncio.Event)
    by_hand: bool | None = None  # the broker's state once somebody pressed `b`
    calm: int = 0  # the backlog before the broker was pulled
    lost: int = 0  # readings lost before it was pulled
    plugged_at: float | None = None  # elapsed seconds when it was plugged in again and has not drained yet

    def key(self, pressed: str) -> None:
        """`b` pulls the broker's plug or puts it in again, `q` ends the demo."""
        if pressed == "b":
            self.by_hand = not self.broker.plugged
        elif pressed == "q":
            self.quit.set()


def demo(seconds: float | None = None, outage: float | None = None) -> int:
    """Run the demo until `seconds` are over (or Ctrl-C); returns the exit code, 0 only if readings really arrived."""
    problems: list[str] = []
    code = 0
    try:
        asyncio.run(_demo(Script(seconds, outage)))
    except* DemoError as group:
        problems += [str(error) for error in group.exceptions]
    except* OSError as group:
        problems += [in_words(error) if isinstance(error, OSError) else str(error) for error in group.exceptions]
    except* (KeyboardInterrupt, asyncio.CancelledError):
        code = 130
    for problem in problems:
        print(f"gateway: {problem}", file=sys.stderr)
    return 1 if problems else code


async def _demo(script: Script) -> None:
    task = asyncio.current_task()
    if task is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    text = find()
    with alone(MARK) as first, tempfile.TemporaryDirectory(prefix="gateway-demo-") as name:
        folder = Path(name)
        usual = (*usual_ports(text), _OPCUA_PORT) if first else (0, 0, 0, 0)
        press, mqtt, status, opcua = (free_port(port) for port in usual)
        async with Plant(tcp_port=press, opcua_port=opcua) as plant, EmbeddedBroker(mqtt) as broker:
            config = _configure(text, folder, plant, broker, status)
            scene = Scene()
            async with asyncio.TaskGroup() as house:
                background = [
                    house.create_task(plant.run()),
                    house.create_task(observe(broker.back_door, scene.arrivals)),
                ]
                async with Daemon(config, folder / "daemon.log") as daemon:
                    stage = Stage(broker, daemon, status, scene)
                    with view(stage.key) as shown:
                        await _play(script, stage, shown)
                    print("stopping", flush=True)
                await asyncio.sleep(_REFRESH_S)  # the last messages are still on their way to the observer
                for work in background:
                    work.cancel()
            _sum_up(scene)


def _configure(text: str, folder: Path, plant: Plant, broker: EmbeddedBroker, status_port: int) -> Path:
    wiring = Wiring(
        press_port=plant.press.port,
        meter=plant.meter.path,
        scale=plant.scale.path,
        robot=plant.robot.endpoint if plant.robot else "",
        broker_port=broker.port,
        status_port=status_port,
        spool=folder / "spool.db",
    )
    config = folder / "demo.yaml"
    config.write_text(render(text, wiring), encoding="utf-8")
    print(f"press PLC: modbus-tcp 127.0.0.1:{wiring.press_port}")
    print(f"energy meter: modbus-rtu {wiring.meter}")
    print(f"robot: opcua {wiring.robot}")
    print(f"scale: line {wiring.scale}")
    print(f"configuration: {config}")
    print(f"broker: mqtt://127.0.0.1:{wiring.broker_port}", flush=True)
    return config


async def _play(script: Script, stage: Stage, shown: PlainView | LiveView) -> None:
    clock = asyncio.get_running_loop().time
    began = clock()
    first: float | None = None
    async with aiohttp.ClientSession() as session:
        while not stage.quit.is_set():
            await _refresh(session, stage)
            if first is None:
                if clock() - began > _START_S:
                    raise DemoError(
                        f"no reading arrived within {_START_S:.0f} s; the daemon says:\n{stage.daemon.last_words}"
                    )
                if stage.scene.arrivals.readings:
                    first, stage.scene.note = clock(), ""
            else:
                elapsed = stage.scene.elapsed_s = clock() - first
                await _throw_switch(script, stage, elapsed)
                _follow_drain(stage, elapsed)
                if script.over(elapsed) and stage.plugged_at is None:
                    break
            shown.show(stage.scene)
    if not stage.scene.arrivals.readings:
        raise DemoError("no reading arrived")


async def _refresh(session: aiohttp.ClientSession, stage: Stage) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_REFRESH_S):
            await stage.quit.wait()
    if stage.daemon.exit_code is not None:
        raise DemoError(f"the daemon ended with code {stage.daemon.exit_code}; it said:\n{stage.daemon.last_words}")
    figures = await fetch_figures(session, stage.status_port)
    if figures is None:
        return
    if stage.scene.figures is None:
        print(f"status page: http://127.0.0.1:{stage.status_port}", flush=True)
    stage.scene.figures = figures
    stage.scene.peak = max(stage.scene.peak, figures.backlog)


async def _throw_switch(script: Script, stage: Stage, elapsed: float) -> None:
    wanted = script.broker_up(elapsed) if stage.by_hand is None else stage.by_hand
    scene = stage.scene
    if wanted == stage.broker.plugged:
        return
    if wanted:
        await stage.broker.plug_in()
        stage.plugged_at = elapsed
        scene.note = "broker plugged in again: the daemon reconnects and drains"
    else:
        if scene.figures is not None:
            stage.calm, stage.lost = scene.figures.backlog, scene.figures.lost
        await stage.broker.pull()
        stage.plugged_at, scene.peak = None, 0
        scene.note = "broker pulled: the backlog grows"
    scene.broker_up = wanted


def _follow_drain(stage: Stage, elapsed: float) -> None:
    if stage.plugged_at is None:
        return
    scene, waited = stage.scene, elapsed - stage.plugged_at
    figures = scene.figures
    if figures is not None and waited > _REFRESH_S and figures.backlog <= max(2 * stage.calm, scene.peak // 4):
        lost = figures.lost - stage.lost
        scene.note = f"drained a backlog of {scene.peak:,} readings within {waited:.1f} s, lost {lost:,}"
        stage.plugged_at = None
    elif waited > _DRAIN_S:
        said = stage.daemon.last_words
        raise DemoError(f"the backlog did not drain within {_DRAIN_S:.0f} s; the daemon says:\n{said}")


def _sum_up(scene: Scene) -> None:
    figures, arrivals = scene.figures, scene.arrivals
    if figures is not None:
        print(
            f"before stopping: polled {figures.polled:,}, kept {figures.kept:,} ({ratio(figures)}), "
            f"acknowledged {figures.acknowledged:,}, lost {figures.lost:,}"
        )
    print(
        f"arrived {arrivals.readings:,} readings in {arrivals.messages:,} messages, {arrivals.octets:,} bytes, "
        f"{arrivals.repeats:,} repeats"
    )
