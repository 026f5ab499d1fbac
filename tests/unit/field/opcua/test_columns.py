from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from gateway.field.opcua.columns import DataDecoder, chunks, quality_of
from gateway.readings import Quality, Tag, text_hash

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
NOW_NS = int(NOW.timestamp()) * 1_000_000_000


@dataclass
class Data:
    """A data value as a server's library shows it."""

    Value: Any
    StatusCode: Any = None
    SourceTimestamp: datetime | None = NOW
    ServerTimestamp: datetime | None = None


def data(value: Any, status: int = 0, source: datetime | None = NOW, server: datetime | None = None) -> Data:
    return Data(SimpleNamespace(Value=value), SimpleNamespace(value=status), source, server)


def decode(
    *values: Data, kind: str = "float64", floor_ns: int = 0, synchronised: bool = True
) -> list[tuple[Any, int, Quality]]:
    decoder = DataDecoder([Tag("d", "t", kind)], np.array([7], np.uint32))
    rows = np.zeros(len(values), np.intp)
    readings, _ = decoder.decode(rows, values, NOW_NS, floor_ns, synchronised=synchronised)
    assert readings.tag.tolist() == [7] * len(values)
    columns = (readings.value.tolist(), readings.time_ns.tolist(), readings.quality.tolist())
    return [
        (readings.texts.get(int(value), value) if not math.isnan(value) else None, time, Quality(quality))
        for value, time, quality in zip(*columns, strict=True)
    ]


def test_status_codes() -> None:
    codes = {
        0x00000000: Quality.GOOD,
        0x00960000: Quality.GOOD,  # GoodLocalOverride
        0x40900000: Quality.UNCERTAIN_STALE,
        0x40910000: Quality.UNCERTAIN_REPAIRED,
        0x40930000: Quality.UNCERTAIN_PRECISION,
        0x80310000: Quality.BAD_EXCEPTION,
        0xC0000000: Quality.BAD_EXCEPTION,  # reserved: part 4 says to treat it as bad
    }
    assert quality_of(np.array(list(codes), np.uint32)).tolist() == list(codes.values())


def test_the_source_time_wins_over_the_servers_and_that_over_ours() -> None:
    earlier = NOW - timedelta(seconds=3)
    assert decode(data(1.0, source=earlier, server=NOW)) == [(1.0, NOW_NS - 3_000_000_000, Quality.GOOD)]
    assert decode(data(1.0, source=None, server=earlier)) == [(1.0, NOW_NS - 3_000_000_000, Quality.GOOD)]
    assert decode(data(1.0, source=None)) == [(1.0, NOW_NS, Quality.GOOD)]


def test_absurd_times_are_passed_over_and_marked() -> None:
    sane = NOW - timedelta(seconds=1)
    for absurd in (datetime(1601, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC), NOW + timedelta(minutes=11)):
        assert decode(data(1.0, source=absurd)) == [(1.0, NOW_NS, Quality.UNCERTAIN_CLOCK)]
        assert decode(data(1.0, source=absurd, server=sane)) == [(1.0, NOW_NS - 10**9, Quality.UNCERTAIN_CLOCK)]
        assert decode(data(1.0, 0x80310000, source=absurd)) == [(None, NOW_NS, Quality.BAD_EXCEPTION)]


def test_an_old_value_is_not_absurd() -> None:
    assert decode(data(1.0, source=NOW - timedelta(days=900)))[0][2] == Quality.GOOD


def test_while_our_clock_isnt_right_times_are_ours() -> None:
    late = NOW - timedelta(seconds=3)
    assert decode(data(1.0, source=late), synchronised=False) == [(1.0, NOW_NS, Quality.UNCERTAIN_CLOCK)]


def test_a_value_from_before_the_outage_is_known_to_hold_after_it() -> None:
    old, outage = NOW - timedelta(days=2), NOW_NS - 5_000_000_000
    server = NOW - timedelta(seconds=1)
    assert decode(data(1.0, source=old, server=server), floor_ns=outage) == [(1.0, NOW_NS - 10**9, Quality.GOOD)]
    assert decode(data(1.0, source=old), floor_ns=outage) == [(1.0, NOW_NS, Quality.GOOD)]
    assert decode(data(1.0, source=old))[0][1] == NOW_NS - 2 * 86400 * 10**9


def test_types_become_what_the_tag_says() -> None:
    assert [row[0] for row in decode(data(True), data(3), data(2.5), kind="float64")] == [1.0, 3.0, 2.5]
    assert decode(data(NOW))[0][0] == NOW.timestamp()
    stranger: list[Any] = ["text", [1.0], None, b"x", {}]
    for strange in stranger:
        assert decode(data(strange))[0][::2] == (None, Quality.BAD_DECODE)
    texts = [data("abc"), data(7), data(b"\x01"), data(SimpleNamespace(Text="weld")), data(NOW)]
    assert [row[0] for row in decode(*texts, kind="string")] == ["abc", "7", "01", "weld", NOW.isoformat()]
    assert decode(data([1]), kind="string")[0][2] == Quality.BAD_DECODE
    assert decode(data(""), kind="string")[0][0] == ""
    assert text_hash("") > 0


def test_a_text_that_is_no_utf8_is_bad() -> None:
    """What the library makes of latin-1 bytes that an old server sends as a String."""
    words = b"Pr\xfcfstand".decode("utf-8", "surrogateescape")
    for value in (words, SimpleNamespace(Text=words)):
        assert decode(data(value), data("ok"), kind="string") == [
            (None, NOW_NS, Quality.BAD_DECODE),
            ("ok", NOW_NS, Quality.GOOD),
        ]


def test_integers_beyond_a_floats_reach_are_uncertain() -> None:
    assert decode(data(2**63 - 1), kind="int64")[0][2] == Quality.UNCERTAIN_PRECISION


def test_a_missing_variant_or_status_is_survived() -> None:
    assert decode(Data(None))[0][2] == Quality.BAD_DECODE
    assert decode(Data(SimpleNamespace(Value=1.0), None))[0][2] == Quality.GOOD


def test_overflowed_rows_are_told_once_each() -> None:
    decoder = DataDecoder([Tag("d", "a"), Tag("d", "b")], np.array([0, 1], np.uint32))
    values = [data(1.0), data(2.0, 0x480), data(3.0, 0x480)]
    _, overflowed = decoder.decode(np.array([0, 1, 1]), values, NOW_NS)
    assert overflowed.tolist() == [1]


def test_the_newest_time_of_each_row_is_remembered() -> None:
    decoder = DataDecoder([Tag("d", "a"), Tag("d", "b")], np.array([0, 1], np.uint32))
    later = NOW + timedelta(seconds=2)
    decoder.decode(np.array([0, 0]), [data(1.0, source=later), data(2.0)], NOW_NS)
    assert decoder.newest_ns.tolist() == [NOW_NS + 2_000_000_000, 0]


def test_a_sample_read_again_is_confirmed_now_and_a_new_one_keeps_its_time() -> None:
    decoder = DataDecoder([Tag("d", "a")], np.array([0], np.uint32))
    old = NOW - timedelta(days=1)

    def read(seconds: int, source: datetime, server: datetime | None = None) -> int:
        at = NOW_NS + seconds * 10**9
        values = [data(1.0, source=source, server=server)]
        return int(decoder.decode(np.array([0]), values, at, confirms=True).readings.time_ns[0]) - NOW_NS

    assert read(0, old) == -86400 * 10**9
    assert read(1, old) == 10**9
    assert read(2, old, server=NOW + timedelta(seconds=1, milliseconds=500)) == 1_500_000_000
    assert read(3, old, server=NOW) == 3 * 10**9, "a server time that stands still confirms nothing"
    assert read(5, NOW + timedelta(seconds=4)) == 4 * 10**9


SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**63), 2**64 - 1), st.floats(), st.text(max_size=5), st.binary(max_size=5),
    st.binary(max_size=5).map(lambda octets: octets.decode("utf-8", "surrogateescape")),
    st.lists(st.floats(), max_size=2), st.datetimes(timezones=st.just(UTC)), st.datetimes(),
)  # fmt: skip


@given(st.lists(st.builds(data, SCALARS, st.integers(0, 2**32 - 1)), max_size=10), st.sampled_from(["int32", "string"]))
def test_no_value_a_server_sends_raises(values: list[Data], kind: str) -> None:
    assert len(decode(*values, kind=kind)) == len(values)


def test_chunks_cover_everything_once() -> None:
    assert [(part.start, part.stop) for part in chunks(250, 100)] == [(0, 100), (100, 200), (200, 250)]
    assert list(chunks(0, 100)) == []
