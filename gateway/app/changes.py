"""What differs between two configurations, and what that touches. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.config import Bus, Configuration, TagPlan


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
    """Compare two valid configurations, and what the secrets and certificates behind them held when each was read."""
    stopped = [name for name in old.buses if name not in new.buses or _link(old, name) != _link(new, name)]
    started = [name for name in new.buses if name not in old.buses or name in stopped]
    replanned = [name for name in new.buses if name not in started and _replanned(old.buses[name], new.buses[name])]
    identity = old.root.gateway != new.root.gateway
    left = [
        name
        for name in old.root.upstreams
        if identity or name not in new.root.upstreams or _upstream(old, name) != _upstream(new, name)
    ]
    return Changes(
        tuple(stopped),
        tuple(started),
        tuple(replanned),
        tuple(left),
        tuple(name for name in new.root.upstreams if name not in old.root.upstreams or name in left),
        _devices(old, new),
        _status(old) != _status(new),
        _refused(old, new),
    )


def _link(configuration: Configuration, bus: str) -> object:
    return configuration.buses[bus].settings.link(), configuration.behind.get(f"connections.{bus}")


def _upstream(configuration: Configuration, name: str) -> object:
    return configuration.root.upstreams[name], configuration.behind.get(f"upstreams.{name}")


def _status(configuration: Configuration) -> object:
    return configuration.root.status, configuration.behind.get("status")


def _replanned(old: Bus, new: Bus) -> bool:
    return old.settings != new.settings or old.every != new.every


def _devices(old: Configuration, new: Configuration) -> tuple[str, ...]:
    before, after = _by_device(old), _by_device(new)
    names = dict.fromkeys((*before, *after))
    return tuple(name for name in names if before.get(name) != after.get(name))


def _by_device(configuration: Configuration) -> Mapping[str, object]:
    plans: dict[str, list[TagPlan]] = {}
    for plan in configuration.tags:
        plans.setdefault(plan.tag.device, []).append(plan)
    links = {name: _link(configuration, name) for name in configuration.buses}
    found: dict[str, object] = {
        name: (bus.name, links[bus.name], bus.settings.devices[name], bus.every[name], plans.get(name))
        for name, bus in configuration.devices()
    }
    found.update({name: (configuration.derived, mine) for name, mine in plans.items() if name not in found})
    return found


def _refused(old: Configuration, new: Configuration) -> tuple[str, ...]:
    found = []
    if old.root.gateway.name != new.root.gateway.name:
        found.append("gateway.name")
    if old.root.spool != new.root.spool:
        found.append("spool")
    return tuple(found)
