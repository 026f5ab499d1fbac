"""The counters in Prometheus' text format. Labels are devices, upstreams and reasons: bounded by the configuration."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from gateway.runtime.counters import Counters
from gateway.runtime.status.source import Json

MOST_CERTIFICATES = 1000  # tags with labels of their own: what a scraper takes without harm
LOSS_REASONS = ("missed_tick", "power", "spool_age", "spool_corrupt", "spool_full")
CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4


def render(counters: Counters, health: Json, build: Mapping[str, str], certificates: Sequence[Json] = ()) -> bytes:
    """All metrics of one moment; `health` is the source's overview, `certificates` are those of the running hour."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Once(lambda: metrics(counters, health, build, certificates)))
    return generate_latest(registry)


def metrics(
    counters: Counters, health: Json, build: Mapping[str, str], certificates: Sequence[Json] = ()
) -> Iterator[Metric]:
    """The metrics, named as in the project's contract; only devices and upstreams in force are told."""
    readings = health["readings"]
    yield _counter(
        "readings", "Readings by stage", ["stage"], ([s, readings[s]] for s in ("polled", "kept", "acknowledged"))
    )
    lost = dict.fromkeys(LOSS_REASONS, 0) | counters.spool.lost  # a series that begins at its first loss hides that one
    yield _counter("readings_lost", "Readings lost, each told by a loss event", ["reason"], sorted(lost.items()))
    yield _gauge(
        "backlog_readings",
        "Readings not yet acknowledged by the slowest upstream",
        [],
        [[health["backlog"]["readings"]]],
    )
    yield _gauge("backlog_age_seconds", "Age of the oldest of them", [], [[health["backlog"]["age_seconds"]]])
    spool = counters.spool
    yield _gauge(
        "spool_bytes", "What the spool holds, in memory and on disk", [], [[spool.memory_bytes + spool.disk_bytes]]
    )
    yield _gauge("spool_disk_ok", "Whether the spool can use its disk", [], [[not spool.error]])
    yield from _devices(counters, list(health["devices"]))
    yield from _upstreams(counters, list(health["upstreams"]))
    yield from _certificates(certificates[:MOST_CERTIFICATES])
    process = health["process"]
    yield _gauge(
        "event_loop_lag_seconds",
        "Worst lateness of the event loop in a minute",
        [],
        [[process["event_loop_lag_seconds"]]],
    )
    yield _gauge(
        "clock_synchronised", "Whether the wall clock is synchronised", [], [[health["clock"]["synchronised"]]]
    )
    yield _gauge("uptime_seconds", "Since the daemon started", [], [[health["uptime_seconds"]]])
    yield _gauge("process_resident_memory_bytes", "Resident memory", [], [[process["rss_bytes"]]])
    yield _counter("process_cpu_seconds", "Processor time used", [], [[process["cpu_seconds"]]])
    yield _gauge("build_info", "Always 1", list(build), [[*build.values(), 1]])


def _devices(counters: Counters, names: list[str]) -> Iterator[Metric]:
    devices = [(name, counters.device(name)) for name in names]
    yield _gauge("device_up", "Whether the device answers", ["device"], ([n, d.up] for n, d in devices))
    yield _counter("polls", "Requests that got a good answer", ["device"], ([n, d.polls] for n, d in devices))
    yield _gauge(
        "poll_duration_seconds", "Duration of the last request", ["device"], ([n, d.last_seconds] for n, d in devices)
    )
    yield _counter("poll_seconds", "Time spent in requests", ["device"], ([n, d.seconds] for n, d in devices))
    yield _gauge(
        "poll_lateness_seconds",
        "Worst last poll against its slot",
        [],
        [[max((d.lateness for _, d in devices), default=0.0)]],
    )
    yield _counter("polls_missed", "Slots that passed unserved", ["device"], ([n, d.missed] for n, d in devices))
    errors = ([n, reason, count] for n, d in devices for reason, count in sorted(d.errors.items()))
    yield _counter("poll_errors", "Requests that failed", ["device", "reason"], errors)


def _certificates(rows: Sequence[Json]) -> Iterator[Metric]:
    """What the lossy steps achieved in the running hour, by tag."""
    for name, text, key in (
        ("tag_kept_ratio", "Readings kept of those received in the running hour", "ratio"),
        ("tag_worst_error", "Largest reconstruction error of the running hour, in the tag's unit", "worst_error"),
        ("tag_error_bound", "The deviation or band in use, in the tag's unit", "bound"),
    ):
        yield _gauge(name, text, ["tag"], ([row["tag"], row[key]] for row in rows))


def _upstreams(counters: Counters, names: list[str]) -> Iterator[Metric]:
    upstreams = [(name, counters.upstream(name)) for name in names]
    label = ["upstream"]
    yield _gauge("upstream_up", "Whether the broker is connected", label, ([n, u.up] for n, u in upstreams))
    yield _gauge("messages_in_flight", "Messages not yet acknowledged", label, ([n, u.in_flight] for n, u in upstreams))
    yield _gauge(
        "publish_latency_seconds",
        "From publish to PUBACK, last message",
        label,
        ([n, u.latency_seconds] for n, u in upstreams),
    )
    yield _counter("messages_acknowledged", "Messages acknowledged", label, ([n, u.messages] for n, u in upstreams))
    yield _gauge(
        "upstream_backlog_readings", "Readings not yet acknowledged", label, ([n, u.backlog] for n, u in upstreams)
    )
    refused = ([n, reason, count] for n, u in upstreams for reason, count in sorted(u.refused.items()))
    yield _counter("messages_refused", "Messages the broker refused", ["upstream", "reason"], refused)


Rows = Iterable[Sequence[Any]]  # label values, then the number


class _Once(Collector):
    def __init__(self, collect: Callable[[], Iterator[Metric]]) -> None:
        self._collect = collect

    def collect(self) -> Iterator[Metric]:
        return self._collect()


def _gauge(name: str, text: str, labels: list[str], rows: Rows) -> Metric:
    return _filled(GaugeMetricFamily(f"gateway_{name}", text, labels=labels), rows)


def _counter(name: str, text: str, labels: list[str], rows: Rows) -> Metric:
    return _filled(CounterMetricFamily(f"gateway_{name}", text, labels=labels), rows)


def _filled(family: GaugeMetricFamily | CounterMetricFamily, rows: Rows) -> Metric:
    for *labels, number in rows:
        family.add_metric([str(label) for label in labels], float(number))
    return family
