"""What differs between two configurations, and what that touches. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.config import Bus, Configuration


@dataclass(frozen=True, slots=True)
class Changes:
    """Names of what a reload starts, stops, replans and leaves alone."""

    buses_stopped: tuple[str, ...] = ()  # gone, or with another link: stop before anything starts
    buses_started: tuple[str, ...] = ()
    buses_replanned: tuple[str, ...] = ()  # the link stays open, some devices change
    upstreams_stopped: tuple[str, ...] = ()
    upstreams_started: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()  # whose readings change in any way
    status: bool = False
    refused: tuple[str, ...] = field(default=())  # what needs a restart, for people

    @property
    def upstreams(self) -> tuple[str, ...]:
        """Every upstream the change touches."""
        return tuple(dict.fromkeys((*self.upstreams_stopped, *self.upstreams_started)))


def changes(old: Configuration, new: Configuration) -> Changes:
    """Compare two valid configurations."""
    stopped = [name for name, bus in old.buses.items() if name not in new.buses or _relinked(bus, new.buses[name])]
    started = [name for name in new.buses if name not in old.buses or name in stopped]
    replanned = [name for name in new.buses if name not in started and _replanned(old.buses[name], new.buses[name])]
    identity = old.root.gateway != new.root.gateway
    left = [
        name
        for name, upstream in old.root.upstreams.items()
        if identity or name not in new.root.upstreams or upstream != new.root.upstreams[name]
    ]
    return Changes(
        tuple(stopped),
        tuple(started),
        tuple(replanned),
        tuple(left),
        tuple(name for name in new.root.upstreams if name not in old.root.upstreams or name in left),
        _devices(old, new),
        old.root.status != new.root.status,
        _refused(old, new),
    )


def _relinked(old: Bus, new: Bus) -> bool:
    return old.settings.model_copy(update={"devices": {}}) != new.settings.model_copy(update={"devices": {}})


def _replanned(old: Bus, new: Bus) -> bool:
    return old.settings != new.settings or old.every != new.every


def _devices(old: Configuration, new: Configuration) -> tuple[str, ...]:
    before, after = _by_device(old), _by_device(new)
    names = dict.fromkeys((*before, *after))
    return tuple(name for name in names if before.get(name) != after.get(name))


def _by_device(configuration: Configuration) -> Mapping[str, object]:
    found: dict[str, object] = {}
    for name, bus in configuration.devices():
        plans = tuple(plan for plan in configuration.tags if plan.tag.device == name)
        link = bus.settings.model_copy(update={"devices": {}})
        found[name] = (bus.name, link, bus.settings.devices[name], bus.every[name], plans)
    if configuration.derived is not None:
        names = {plan.tag.device for plan in configuration.tags} - found.keys()
        found.update(dict.fromkeys(names, (configuration.derived,)))
    return found


def _refused(old: Configuration, new: Configuration) -> tuple[str, ...]:
    found = []
    if old.root.gateway.name != new.root.gateway.name:
        found.append("gateway.name")
    if old.root.spool != new.root.spool:
        found.append("spool")
    return tuple(found)
