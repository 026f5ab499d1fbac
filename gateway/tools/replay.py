"""`gateway replay`: what a configuration's pipeline would keep of recorded data, and how well."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Mapping, Sequence
from csv import writer
from pathlib import Path
from typing import Any

from gateway.config import Configuration, load
from gateway.errors import GatewayError
from gateway.readings import BAD, UNCERTAIN, Quality, Readings, TagTable
from gateway.tools import replaying
from gateway.tools.columns import aligned
from gateway.tools.recording import Recording, read

_HEADINGS = ("tag", "received", "kept", "ratio", "worst error", "rms error", "against raw: worst", "rms")


def replay(
    file: Path, csv: Path, tag: str | None, out: Path | None, plot: Path | None, as_json: bool, suggest: bool
) -> int:
    """Replay a CSV through a configuration and print the figures; 0. GatewayError names what can't be used."""
    configuration = load(file)
    table = configuration.table
    recording = read(csv, table, replaying.recordable(configuration), tag)
    if recording.ignored:
        print(f"no tag for the columns {', '.join(recording.ignored)}: ignored", file=sys.stderr)
    started = time.perf_counter()
    replayed = replaying.replay_all(configuration, recording)
    seconds = time.perf_counter() - started
    shown = _shown(configuration, replayed)
    found = [replaying.figures(replayed, configuration.steps.get(index, ()), index) for index in shown]
    if out is not None:
        write_kept(out, table, replayed.kept)
    if plot is not None:
        draw(plot, table, found, replayed.kept)
    report = _report(configuration, recording, replayed, found, suggest=suggest)
    if as_json:
        print(json.dumps(report, indent=2, allow_nan=False))
    else:
        _print(report, seconds)
    return 0


def write_kept(out: Path, table: TagTable, kept: Readings) -> None:
    """Write what left the pipeline as `time,tag,value,quality`: epoch milliseconds, values that read back exactly.

    A value that is none (a bad reading, but for reason range) is an empty cell.
    """
    names = [tag.full_name for tag in table]
    kinds = [tag.kind for tag in table]
    words = ["bad" if code & BAD else "uncertain" if code & UNCERTAIN else "good" for code in range(256)]
    rows = zip(kept.tag.tolist(), kept.time_ns.tolist(), kept.value.tolist(), kept.quality.tolist(), strict=True)
    with out.open("w", encoding="utf-8", newline="") as opened:
        lines = writer(opened, lineterminator="\n")
        lines.writerow(("time", "tag", "value", "quality"))
        lines.writerows(
            (_milliseconds(time_ns), names[tag], _cell(kinds[tag], value, code, kept.texts), words[code])
            for tag, time_ns, value, code in rows
        )


def _milliseconds(time_ns: int) -> int | str:
    whole, rest = divmod(time_ns, 1_000_000)
    return whole if not rest else f"{whole}.{rest:06d}".rstrip("0")


def _cell(kind: str, value: float, code: int, texts: Mapping[int, str]) -> str | float | int:
    if not math.isfinite(value) or (code & BAD and code != Quality.BAD_RANGE):
        return ""
    if kind == "text":
        return texts.get(int(value), "")
    if kind == "bool":
        return "true" if value else "false"
    return int(value) if kind == "integer" and value.is_integer() else value


def draw(plot: Path, table: TagTable, found: Sequence[replaying.TagFigures], kept: Readings) -> None:
    """A picture with one panel per tag: what came, what is rebuilt, what was kept. GatewayError without matplotlib."""
    try:
        from matplotlib.figure import Figure  # noqa: PLC0415  # an optional extra
    except ImportError as error:
        raise GatewayError("the picture needs matplotlib: pip install edge-gateway[plot]") from error
    figure = Figure(figsize=(12, 1.5 + 3.0 * len(found)), layout="constrained")
    for number, each in enumerate(found, 1):
        axes = figure.add_subplot(len(found), 1, number)
        times = each.time_ns.astype("datetime64[ns]")
        rows = kept.where(kept.tag == each.tag)
        axes.plot(times, each.value, color="0.6", linewidth=1.0, label="received")
        axes.plot(times, each.rebuilt, color="tab:blue", linewidth=0.8, label="rebuilt")
        axes.plot(rows.time_ns.astype("datetime64[ns]"), rows.value, ".", color="tab:red", markersize=3, label="kept")
        axes.set_ylabel(table[each.tag].unit)
        axes.set_title(f"{table[each.tag].full_name}: {each.ratio:.2%} kept", loc="left")
        axes.legend(loc="upper right", frameon=False)
    try:
        figure.savefig(plot, dpi=100)
    except ValueError as error:
        raise GatewayError(f"{plot}: {error}") from error


def _shown(configuration: Configuration, replayed: replaying.Replayed) -> list[int]:
    """Tags with rows of their own, in the order of the table: recorded and derived ones."""
    present = set(replayed.received.tag.tolist())
    return [index for index in range(len(configuration.table)) if index in present]


def _report(
    configuration: Configuration,
    recording: Recording,
    replayed: replaying.Replayed,
    found: Sequence[replaying.TagFigures],
    *,
    suggest: bool,
) -> dict[str, Any]:
    table = configuration.table
    received = sum(each.received for each in found)
    own = sum(each.kept for each in found)
    size = replaying.sizes(table, replayed.kept, configuration.root.spool.seal, configuration.root.gateway.name)
    left = len(replayed.kept)
    report: dict[str, Any] = {
        "received": received,
        "kept": own,
        "ratio": own / received if received else None,
        "computed": left - own,
        "bytes_per_reading": {"json": _known(size.json), "columns": _known(size.columns)},
        "bytes_per_received_reading": {
            "json": _known(size.json * left / received) if received else None,
            "columns": _known(size.columns * left / received) if received else None,
        },
        "tags": [
            {
                "tag": table[each.tag].full_name,
                "received": each.received,
                "kept": each.kept,
                "ratio": each.ratio,
                "worst_error": _known(each.worst_error),
                "rms_error": _known(each.rms_error),
                "raw_worst_error": _known(each.raw_worst_error),
                "raw_rms_error": _known(each.raw_rms_error),
            }
            for each in found
        ],
    }
    if suggest:
        report["suggestions"] = [
            _suggestion(table, recording.readings, index) for index in recording.tags if table[index].kind in _NUMERIC
        ]
    return report


_NUMERIC = frozenset({"real", "integer"})


def _suggestion(table: TagTable, readings: Readings, index: int) -> dict[str, Any]:
    deviation = replaying.suggestion(table, readings, index)
    if not deviation:
        return {"tag": table[index].full_name, "deviation": None, "ratio": None}
    share = replaying.trial(table, readings, index, deviation)
    return {"tag": table[index].full_name, "deviation": deviation, "ratio": share}


def _known(number: float) -> float | None:
    return number if math.isfinite(number) else None


def _print(report: Mapping[str, Any], seconds: float) -> None:
    rows = [
        (
            row["tag"],
            str(row["received"]),
            str(row["kept"]),
            f"{row['ratio']:.2%}",
            *(_short(row[key]) for key in ("worst_error", "rms_error", "raw_worst_error", "raw_rms_error")),
        )
        for row in report["tags"]
    ]
    for line in aligned(_HEADINGS, rows, _HEADINGS[1:]):
        print(line)
    ratio = "-" if report["ratio"] is None else f"{report['ratio']:.2%}"
    print(
        f"kept {report['kept']} of {report['received']} readings ({ratio}), "
        f"computed {report['computed']} more, in {seconds:.2f} s"
    )
    per_reading, per_received = report["bytes_per_reading"], report["bytes_per_received_reading"]
    for name in ("json", "columns"):
        sent, came = _short(per_reading[name]), _short(per_received[name])
        print(f"{name}: {sent} bytes per reading sent, {came} per reading received")
    for each in report.get("suggestions", ()):
        if each["deviation"] is None:
            print(f"{each['tag']}: constant or too short to suggest a deviation")
        else:
            print(f"{each['tag']}: swinging-door: {{deviation: {each['deviation']:g}}} would keep {each['ratio']:.2%}")


def _short(number: float | None) -> str:
    return "-" if number is None else f"{number:.4g}"
