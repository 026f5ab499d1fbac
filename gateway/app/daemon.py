"""Everything that runs, and what can happen to it: start, reload, stop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

from gateway import __version__
from gateway.app.buses import Buses
from gateway.app.changes import Changes, changes
from gateway.app.facts import plant, site, summary
from gateway.app.flow import Flow, Parts
from gateway.app.pages import Pages
from gateway.app.records import Records
from gateway.app.senders import Senders
from gateway.app.traces import Traces
from gateway.config import Configuration, load
from gateway.errors import ConfigError
from gateway.field.contract import FieldContext
from gateway.readings import TagTable
from gateway.runtime.clock import Clock
from gateway.runtime.counters import Counters
from gateway.runtime.latest import Latest
from gateway.runtime.logs import Logs
from gateway.runtime.status.view import View
from gateway.runtime.systemd import Notifier
from gateway.runtime.watchdog import Watchdog
from gateway.spool.spool import SILENT_S, Spool
from gateway.upstream.commands import Executor
from gateway.upstream.identity import Identity
from gateway.upstream.requests import Value

log = logging.getLogger(__name__)

_CLOSE_S = 3.0
_TICK_S = 1.0
_ERRORS = 20  # of a refused reload in its event; all of them are in the log


class Daemon:
    """Everything that runs, and the three things that can happen to it: start, reload, stop."""

    def __init__(
        self,
        configuration: Configuration,
        spool: Spool,
        clock: Clock,
        counters: Counters,
        latest: Latest,
        view: View,
        records: Records,
        logs: Logs,
        notifier: Notifier,
        house: asyncio.TaskGroup,
    ) -> None:
        self.configuration = configuration
        self.view = view
        self.records = records
        view.certificates = self._achieved
        self._spool = spool
        self._clock = clock
        self._counters = counters
        self._logs = logs
        self._notifier = notifier
        state = configuration.root.spool.place(configuration.root.gateway.name).parent
        self.state = state
        self.watchdog = Watchdog(notifier)
        view.stalled = self.watchdog.stalled
        self.flow = Flow(configuration, spool, clock, counters, latest, self._link)
        self.commands = Executor(self.flow.table, self._write, clock, spool, records.audit, self._note_write)
        self.senders = Senders(
            house, spool, clock, counters, latest, self.commands, lambda: self.flow.table, self.watchdog
        )
        context = FieldContext(self.flow, clock, counters, state if state.is_dir() else None)
        self.buses = Buses(house, context, self.watchdog)
        self.traces = Traces(self.buses.trace)
        self.pages = Pages(house, view, records.refused_login)
        self._changing = asyncio.Lock()  # reloads come by signal and by control socket, and a stop may meet one
        self._stopping = False

    @property
    def table(self) -> TagTable:
        """The tag table in force."""
        return self.flow.table

    def start(self) -> None:
        """Open all upstreams and buses; none of them is waited for."""
        self.watchdog.watch("spool", self._spool.sign_of_life, SILENT_S)
        for device, _ in self.configuration.devices():
            self._counters.device(device)
        for name in self.configuration.root.upstreams:
            self.senders.start(self.configuration, name, self._identity())
        for bus in self.configuration.buses.values():
            self.buses.start(bus, self.table)
        self.pages.use(self.configuration.root.status)
        self._use_log(self.configuration)

    async def stop(self) -> None:
        """Field closes, steps flush, spool commits, upstreams drain for `shutdown_timeout`."""
        self._stopping = True
        async with self._changing:
            await self.buses.stop(self.buses.names, _CLOSE_S)
        self.flow.flush()
        await self._spool.commit()
        await self.senders.drain(self.configuration.root.shutdown_timeout)
        await self.pages.stop(_CLOSE_S)

    async def reload(self, source: str) -> dict[str, object]:
        """Read the file again; a wrong one changes nothing. The result as it goes out in the `reload` event.

        One reload waits for the other; once the stop began none changes anything.
        """
        async with self._changing:
            if self._stopping:
                return _outcome("refused", Changes(), ["the daemon stops"])
            self._notifier.reloading()
            try:
                outcome = await self._reload()
            finally:
                self._notifier.ready()
            self._spool.event("reload", self._clock.now_ns(), outcome)
            self.records.note("reload", source=source, configuration=self.configuration.digest, **outcome)
            return outcome

    async def _reload(self) -> dict[str, object]:
        try:
            new = await asyncio.to_thread(load, self.configuration.file)  # whole: secrets and files, too
        except ConfigError as error:
            log.warning("reload refused, nothing changed:\n%s", error)
            return _outcome("refused", Changes(), [str(finding) for finding in error.findings])
        except OSError as error:
            log.warning("reload refused, nothing changed: %s", error)
            return _outcome("refused", Changes(), [str(error)])
        found = await asyncio.to_thread(changes, self.configuration, new)
        if found.refused:
            text = f"{' and '.join(found.refused)} can't change while running: restart the daemon"
            log.error("reload refused, nothing changed: %s", text)
            return _outcome("refused", Changes(), [text])
        for warning in new.warnings:
            log.warning("%s", warning)
        await self._apply(new, found, await asyncio.to_thread(self._prepared, new))
        log.info("reloaded: %d devices and %d upstreams changed", len(found.devices), len(found.upstreams))
        return _outcome("applied", found)

    def _prepared(self, new: Configuration) -> Parts:
        return self.flow.prepared(new, self.table.grown([plan.tag for plan in new.tags]))

    async def _apply(self, new: Configuration, found: Changes, parts: Parts) -> None:
        old, self.configuration = self.configuration, new
        await self.buses.stop(found.buses_stopped, _CLOSE_S)
        await self.senders.stop(found.upstreams_stopped, _CLOSE_S)
        for name in old.root.upstreams.keys() - new.root.upstreams.keys():
            self._spool.forget(name)
            self._counters.upstreams.pop(name, None)
        table = parts.table
        self.flow.reconfigure(parts)
        self.commands.use_table(table)
        self.senders.use_table(table)
        for device in {name for name, _ in old.devices()} - {name for name, _ in new.devices()}:
            self._counters.devices.pop(device, None)
        for name in found.buses_replanned:
            self.buses.replan(new.buses[name], table)
        for name in found.buses_started:
            self.buses.start(new.buses[name], table)
        for name in found.upstreams_started:
            self.senders.start(new, name, self._identity())
        if found.status:
            await self.pages.stop(_CLOSE_S)
            self.pages.use(new.root.status)
        self._use_log(new)
        self.view.plant = plant(new, table)

    async def keep_time(self) -> None:
        """Each second: the clock, what is due by it, and the state line of the service manager."""
        while True:
            await asyncio.sleep(_TICK_S)
            change = self._clock.check()
            if change is not None:
                self.flow.clock_changed(change)
            self.flow.tick(self._clock.now_ns())
            self.traces.renew()
            for name in self.configuration.root.upstreams:
                counters, delivery = self._counters.upstream(name), self._spool.delivery(name)
                counters.backlog, counters.oldest_ns = delivery.backlog, delivery.oldest_ns
            self._notifier.status(summary(self._counters, self._clock.now_ns()))

    def acknowledge(self, tag: int, user: str) -> bool:
        """An operator has seen a tag's alarm; False where there is none to acknowledge."""
        return self.flow.alarms.acknowledge(tag, self._clock.now_ns(), user)

    def _use_log(self, configuration: Configuration) -> None:
        settings = configuration.root.log
        self._logs.level(settings.level, settings.devices)
        self.traces.log_frames(device for device, level in settings.devices.items() if level == "debug")

    def _achieved(self) -> list[dict[str, object]]:
        return self.flow.achieved()

    def _link(self, device: str, online: bool, reason: str, since_ns: int) -> None:  # as the field says it
        self.senders.link(device, online, reason, since_ns)

    async def _write(self, tag: int, value: Value) -> Value:
        return await self.buses.write(self.table, tag, value)

    def _note_write(self, body: Mapping[str, object]) -> None:
        fields = {key: value for key, value in body.items() if key != "event"}
        known = self.table.find(str(body["tag"]))  # a name nobody knows is no subject of its own: it may be anything
        subject = {} if known is None else {"tag": body["tag"], "device": self.table[known].device}
        log.info("write to %s: %s (%s)", body["tag"], body["status"], body["source"], extra=subject)
        self._spool.event(str(body["event"]), self._clock.now_ns(), fields)

    def _identity(self) -> Identity:
        root = self.configuration.root
        location = root.gateway.location.model_dump() if root.gateway.location else {}
        return Identity(root.gateway.name, self._spool.boot, __version__, site(root), location)


def _outcome(result: str, found: Changes, errors: list[str] | None = None) -> dict[str, object]:
    changed = {"devices": list(found.devices), "upstreams": list(found.upstreams)}
    shown = (errors or [])[:_ERRORS]
    return {"result": result, "changed": changed, **({"errors": shown} if shown else {})}
