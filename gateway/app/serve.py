"""One run of the daemon from its configuration to its end: what is opened in which order, and what runs beside it.

audit log, spool -> upstreams -> buses -> READY ... SIGTERM -> buses stop -> spool commits -> upstreams drain -> closed
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import signal
from collections.abc import AsyncIterator, Callable, Mapping

from gateway import __version__
from gateway.app.controls import control_server
from gateway.app.daemon import Daemon
from gateway.app.facts import plant
from gateway.app.records import Records
from gateway.config import Configuration
from gateway.runtime.audit import AuditLog
from gateway.runtime.clock import Clock
from gateway.runtime.counters import Counters
from gateway.runtime.lag import LoopLag
from gateway.runtime.latest import Latest
from gateway.runtime.logs import Logs
from gateway.runtime.status.view import Identity as ViewIdentity
from gateway.runtime.status.view import View
from gateway.runtime.synchronised import Synchronised
from gateway.runtime.systemd import Notifier
from gateway.spool.spool import Spool

log = logging.getLogger(__name__)


async def serve(configuration: Configuration, logs: Logs, notifier: Notifier) -> None:
    """Run until SIGTERM or SIGINT. Spool's InUseError passes; a bug anywhere ends everything."""
    stop, reload = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, reload.set)
    synchronised = Synchronised()
    await synchronised.refresh()
    clock, counters, latest, lag = Clock(synchronised=synchronised), Counters(), Latest(configuration.table), LoopLag()
    root = configuration.root
    told: list[Callable[[Mapping[str, object]], None]] = []  # the page, once there is one

    def tell(event: Mapping[str, object]) -> None:
        for listener in told:
            listener(event)

    spool = Spool(
        root.spool,
        root.gateway.name,
        configuration.table,
        clock,
        counters.spool,
        upstreams=root.upstreams,
        told=tell,
    )
    identity = ViewIdentity(root.gateway.name, __version__, spool.boot)
    place = root.spool.place(root.gateway.name).parent
    view = View(
        identity, plant(configuration, configuration.table), counters, latest, clock, lag, place, logs.lines.newest
    )
    records = Records(AuditLog(place / "audit.log"), clock)
    told += [view.event, records.event]
    async with contextlib.AsyncExitStack() as patience:
        await patience.enter_async_context(notifier.extending())  # while the spool recovers
        async with records, spool, asyncio.TaskGroup() as house:
            records.note("start", version=__version__, boot=spool.boot, configuration=configuration.digest)
            daemon = Daemon(configuration, spool, clock, counters, latest, view, records, logs, notifier, house)
            async with _background(house, daemon, spool, synchronised, lag, view), control_server(daemon):
                daemon.start()
                view.ready = True
                await patience.aclose()
                gc.collect()
                gc.freeze()  # a full collection would look at all of this again and again, and hold up the polls
                notifier.ready()
                devices = sum(1 for _ in configuration.devices())
                log.info("ready: %d devices, %d tags", devices, len(daemon.table))
                await _until(stop, reload, daemon)
                notifier.stopping()
                log.info("stopping")
                await patience.enter_async_context(notifier.extending())  # until the spool is closed
                await daemon.stop()


async def _until(stop: asyncio.Event, reload: asyncio.Event, daemon: Daemon) -> None:
    """Wait for the stop; reloads are done one after the other."""
    while not stop.is_set():
        waiting = [asyncio.create_task(event.wait()) for event in (stop, reload)]
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for task in waiting:
            task.cancel()
        if reload.is_set() and not stop.is_set():
            reload.clear()
            await daemon.reload("SIGHUP")


@contextlib.asynccontextmanager
async def _background(
    house: asyncio.TaskGroup, daemon: Daemon, spool: Spool, synchronised: Synchronised, lag: LoopLag, view: View
) -> AsyncIterator[None]:
    """What runs beside buses and upstreams; ended when the block is left."""
    work = {
        "spool": spool.run(),
        "time": daemon.keep_time(),
        "synchronised": synchronised.run(),
        "lag": lag.run(),
        "trends": view.trends.run(),
        "watchdog": daemon.watchdog.run(),
        "audit": daemon.records.run(),
    }
    tasks = [house.create_task(body, name=name) for name, body in work.items()]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
