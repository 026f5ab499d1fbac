"""DATA metrics as protobuf bytes, written from columns. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from gateway.compiled import kernel

ROOM = 72  # bytes one metric needs at most, beside its text

Bytes = NDArray[np.uint8]
Longs = NDArray[np.int64]


@kernel
def put_varint(out: Bytes, at: int, number: np.uint64) -> int:
    """Write an unsigned integer; the place behind it."""
    while number >= np.uint64(128):
        out[at] = np.uint8((number & np.uint64(127)) | np.uint64(128))
        number >>= np.uint64(7)
        at += 1
    out[at] = np.uint8(number)
    return at + 1


@kernel
def put_fixed(out: Bytes, at: int, bits: np.uint64, size: int) -> int:
    """Write `size` bytes, lowest first; the place behind them."""
    for _ in range(size):
        out[at] = np.uint8(bits & np.uint64(255))
        bits >>= np.uint64(8)
        at += 1
    return at


@kernel
def put_metrics(
    alias: NDArray[np.uint64],
    time_ms: Longs,
    value: NDArray[np.float64],
    bits64: NDArray[np.uint64],
    bits32: NDArray[np.uint32],
    field: Bytes,
    datatype: Bytes,
    state: Bytes,
    text_end: Longs,
    texts: Bytes,
    historical: bool,  # kernels take plain arguments
    out: Bytes,
    ends: Longs,
) -> None:
    """Metrics by alias, one behind the other, into `out`; `ends[i]` is where metric i ends.

    `state`: 0 good, 1 bad, 2 stale. `datatype` 0: not written. Row i's text is `texts[text_end[i-1]:text_end[i]]`.
    """
    at = 0
    text_at = 0
    for row in range(len(alias)):
        start = at
        at += 6  # room for tag and length
        out[at] = 0x10
        at = put_varint(out, at + 1, alias[row])
        out[at] = 0x18
        at = put_varint(out, at + 1, np.uint64(time_ms[row]))
        if datatype[row]:
            out[at] = 0x20
            out[at + 1] = datatype[row]
            at += 2
        if historical:
            out[at] = 0x28
            out[at + 1] = 1
            at += 2
        if state[row]:
            out[at] = 0x38
            out[at + 1] = 1
            out[at + 2] = 0x4A  # properties: {"Quality": Int32 0 or 500}
            stale = state[row] == 2
            out[at + 3] = 16 if stale else 15
            out[at + 4] = 0x0A
            out[at + 5] = 7
            out[at + 6] = 81
            out[at + 7] = 117
            out[at + 8] = 97
            out[at + 9] = 108
            out[at + 10] = 105
            out[at + 11] = 116
            out[at + 12] = 121
            out[at + 13] = 0x12
            out[at + 14] = 5 if stale else 4
            out[at + 15] = 0x08
            out[at + 16] = 3
            out[at + 17] = 0x18
            at = put_varint(out, at + 18, np.uint64(500 if stale else 0))
        elif field[row] == 0:
            out[at] = 0x50
            at = put_varint(out, at + 1, np.uint64(np.int64(value[row])) & np.uint64(0xFFFFFFFF))
        elif field[row] == 1:
            out[at] = 0x58
            at = put_varint(out, at + 1, np.uint64(np.int64(value[row])))
        elif field[row] == 2:
            out[at] = 0x58
            if value[row] >= 9223372036854775808.0:
                number = np.uint64(np.int64(value[row] - 9223372036854775808.0)) | (np.uint64(1) << np.uint64(63))
            else:
                number = np.uint64(np.int64(value[row]))
            at = put_varint(out, at + 1, number)
        elif field[row] == 3:
            out[at] = 0x65
            at = put_fixed(out, at + 1, np.uint64(bits32[row]), 4)
        elif field[row] == 4:
            out[at] = 0x69
            at = put_fixed(out, at + 1, bits64[row], 8)
        elif field[row] == 5:
            out[at] = 0x70
            out[at + 1] = 1 if value[row] != 0.0 else 0
            at += 2
        else:
            length = text_end[row] - text_at
            out[at] = 0x7A
            at = put_varint(out, at + 1, np.uint64(length))
            for index in range(length):
                out[at + index] = texts[text_at + index]
            at += length
        text_at = text_end[row]
        size = at - start - 6
        out[start] = 0x12
        body = put_varint(out, start + 1, np.uint64(size))
        for index in range(size):
            out[body + index] = out[start + 6 + index]
        at = body + size
        ends[row] = at


def encode(
    alias: NDArray[np.uint64],
    time_ms: Longs,
    value: NDArray[np.float64],
    field: Bytes,
    datatype: Bytes,
    state: Bytes,
    texts: Sequence[bytes] | None,
    *,
    historical: bool,
) -> tuple[bytes, Longs]:
    """Encoded metrics (field 2 of a Payload, repeated) and where each ends. Columns as `put_metrics` takes them.

    `texts`: one text per row (empty where the row has none), or None where no row has one.
    """
    rows = len(alias)
    joined = b"" if texts is None else b"".join(texts)
    text_end = np.zeros(rows, np.int64)
    if texts is not None:
        np.cumsum(np.fromiter(map(len, texts), np.int64, rows), out=text_end)
    with np.errstate(over="ignore", invalid="ignore"):
        narrow = value.astype(np.float32).view(np.uint32)
    value = np.ascontiguousarray(value)
    out = np.empty(rows * ROOM + len(joined), np.uint8)
    ends = np.empty(rows, np.int64)
    put_metrics(
        alias,
        time_ms,
        value,
        value.view(np.uint64),
        narrow,
        field,
        datatype,
        state,
        text_end,
        np.frombuffer(joined or b"\0", np.uint8).copy(),
        historical,
        out,
        ends,
    )
    return out[: ends[-1] if rows else 0].tobytes(), ends


def warm() -> None:
    """Compile the kernels, or load them from the cache."""
    one = np.zeros(1, np.uint8)
    encode(np.ones(1, np.uint64), np.ones(1, np.int64), np.ones(1), one, one, one, None, historical=False)
