"""What the configuration and the counters say, in the words of the status page and of `systemctl status`. Pure."""

from __future__ import annotations

from gateway.config import Configuration
from gateway.config.root import Root
from gateway.readings import TagTable
from gateway.runtime.counters import Counters
from gateway.runtime.status.view import DeviceFacts, Plant, UpstreamFacts


def site(root: Root) -> dict[str, str]:
    """The site's fields that are given."""
    return {key: value for key, value in root.gateway.site.model_dump().items() if value}


def plant(configuration: Configuration, table: TagTable) -> Plant:
    """What the status page shows of the configuration in force."""
    devices = {
        device: DeviceFacts(bus.name, bus.settings.driver, bus.every[device]) for device, bus in configuration.devices()
    }
    upstreams = {
        name: UpstreamFacts(", ".join(settings.broker), settings.format, settings.window)
        for name, settings in configuration.root.upstreams.items()
    }
    return Plant(table, devices, upstreams)


def summary(counters: Counters, now_ns: int) -> str:
    """`3/4 devices ok, backlog 1.2k, plant down 00:03:10`."""
    devices = counters.devices.values()
    words = [f"{sum(device.up for device in devices)}/{len(devices)} devices ok"]
    words.append(f"backlog {_short(max((each.backlog for each in counters.upstreams.values()), default=0))}")
    for name, upstream in counters.upstreams.items():
        if not upstream.up:
            seconds = max(0, now_ns - upstream.since_ns) // 1_000_000_000 if upstream.since_ns else 0
            words.append(f"{name} down {seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}")
    if counters.spool.error:
        words.append("spool in memory only")
    return ", ".join(words)


def _short(count: int) -> str:
    if count < 1000:
        return str(count)
    return f"{count / 1000:.1f}k" if count < 1_000_000 else f"{count / 1_000_000:.1f}M"
