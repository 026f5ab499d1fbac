"""The one data type of the gateway: equal-length numpy columns, and the table that names their tags.

tag: uint32      dense index into the TagTable
time_ns: int64   UTC, whole microseconds (a request's midpoint is not known better)
value: float64   booleans are 0/1; text is its 52-bit content hash, the string travels in `texts`
quality: uint8   class (two high bits) and reason (six low bits), see `Quality`
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum
from functools import cached_property
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray

TagColumn = NDArray[np.uint32]
TimeColumn = NDArray[np.int64]
ValueColumn = NDArray[np.float64]
QualityColumn = NDArray[np.uint8]
Mask = NDArray[np.bool_]

NO_TEXTS: Final[Mapping[int, str]] = MappingProxyType({})
UNCERTAIN: Final = 0x40
BAD: Final = 0x80
REASON_MASK: Final = 0x3F


class Quality(IntEnum):
    """Class and reason in one code: `code & 0xC0` is the class, `code & 0x3F` the reason (wire.md's words)."""

    GOOD = 0
    UNCERTAIN_STALE = UNCERTAIN | 6
    UNCERTAIN_REPAIRED = UNCERTAIN | 7
    UNCERTAIN_CLOCK = UNCERTAIN | 8
    UNCERTAIN_PRECISION = UNCERTAIN | 9
    BAD_TIMEOUT = BAD | 1
    BAD_LINK = BAD | 2
    BAD_EXCEPTION = BAD | 3
    BAD_RANGE = BAD | 4
    BAD_DECODE = BAD | 5
    BAD_STALE = BAD | 6

    @property
    def word(self) -> str:
        """`good`, `uncertain` or `bad`."""
        return "bad" if self & BAD else "uncertain" if self & UNCERTAIN else "good"

    @property
    def reason(self) -> str:
        """The reason as on the wire, empty where the quality is good."""
        return self.name.partition("_")[2].lower()


INTEGER_LIMITS: Final[Mapping[str, tuple[int, int]]] = MappingProxyType(
    {
        **{f"int{bits}": (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) for bits in (8, 16, 32, 64)},
        **{f"uint{bits}": (0, (1 << bits) - 1) for bits in (8, 16, 32, 64)},
        "bcd16": (0, 9_999),
        "bcd32": (0, 99_999_999),
    }
)


@dataclass(frozen=True, slots=True)
class WriteLimits:
    """What may be written to a tag, in engineering units; None leaves the limit to the type."""

    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Tag:
    """One measured or computed value of one device. `name` is unique in its device, `device.name` in the gateway."""

    device: str
    name: str
    type: str = "float64"  # as in config.md: bool, int8 ... float64, bcd16, bcd32, string
    unit: str = ""
    low: float | None = None  # `range:` of the configuration
    high: float | None = None
    scale: float = 1.0  # value = raw * scale + offset
    offset: float = 0.0
    write: WriteLimits | None = None  # None: the tag can't be written
    address: str = ""  # for people: where it comes from, or the step that computes it
    retired: bool = False  # left the configuration by a reload; its index stays taken

    @property
    def full_name(self) -> str:
        """`device.name`, as in the configuration's selections and in commands."""
        return f"{self.device}.{self.name}"

    @property
    def scaled(self) -> bool:
        """Whether engineering value and raw value differ."""
        return self.scale != 1.0 or self.offset != 0.0

    @property
    def kind(self) -> str:
        """`bool`, `integer`, `real` or `text`: how a value is written to JSON and Sparkplug."""
        if self.type == "bool":
            return "bool"
        if self.type == "string":
            return "text"
        return "integer" if self.type in INTEGER_LIMITS and not self.scaled else "real"


class TagTable(Sequence[Tag]):
    """Tags by dense index. Immutable; a reload makes a longer one in which every old index keeps its meaning."""

    def __init__(self, tags: Iterable[Tag] = ()) -> None:
        self._tags = tuple(tags)
        self._index = {tag.full_name: index for index, tag in enumerate(self._tags) if not tag.retired}

    def __getitem__(self, index: int) -> Tag:  # type: ignore[override]  # slices of a table have no meaning
        return self._tags[index]

    def __len__(self) -> int:
        return len(self._tags)

    def __iter__(self) -> Iterator[Tag]:
        return iter(self._tags)

    def index(self, full_name: str) -> int:  # type: ignore[override]  # looked up by name, not by value
        """The index of a tag by its full name; KeyError where there is none."""
        return self._index[full_name]

    def find(self, full_name: str) -> int | None:
        """The index of a tag by its full name, or None."""
        return self._index.get(full_name)

    @cached_property
    def devices(self) -> Mapping[str, NDArray[np.uint32]]:
        """Indices of the live tags by device, in the order of the configuration."""
        found: dict[str, list[int]] = {}
        for index, tag in enumerate(self._tags):
            if not tag.retired:
                found.setdefault(tag.device, []).append(index)
        return MappingProxyType({name: np.array(indices, np.uint32) for name, indices in found.items()})

    @cached_property
    def digest(self) -> str:
        """16 hex digits naming this table's content: device, name, type, unit, range and scaling by index."""
        return hashlib.blake2b(self.to_json(), digest_size=8).hexdigest()

    def to_json(self) -> bytes:
        """The dictionary as receivers and the spool keep it; stable for equal tables."""
        rows = [
            [tag.device, tag.name, tag.type, tag.unit, tag.low, tag.high, tag.scale, tag.offset] for tag in self._tags
        ]
        return json.dumps({"version": 1, "tags": rows}, separators=(",", ":"), ensure_ascii=False).encode()

    @classmethod
    def from_json(cls, text: bytes) -> TagTable:
        """The table of `to_json`; ValueError where it is none."""
        try:
            document = json.loads(text)
            if document["version"] != 1:
                raise ValueError("unknown dictionary version")
            return cls(
                Tag(str(device), str(name), str(kind), str(unit), low, high, float(scale), float(offset))
                for device, name, kind, unit, low, high, scale, offset in document["tags"]
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"no tag dictionary: {error}") from error

    def grown(self, tags: Iterable[Tag]) -> TagTable:
        """The table after a reload: equal tags keep their index, a returning one takes its old one, new ones follow."""
        wanted = {tag.full_name: tag for tag in tags}
        rows = []
        for tag in self._tags:
            live = replace(tag, retired=False) if tag.retired else tag
            if wanted.get(tag.full_name) == live:
                rows.append(wanted.pop(tag.full_name))
            else:
                rows.append(tag if tag.retired else replace(tag, retired=True))
        return TagTable([*rows, *wanted.values()])


def text_hash(text: str) -> int:
    """52-bit content hash of a text: exact in float64, so steps treat text like any discrete value."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 12


def _no_texts() -> Mapping[int, str]:
    return NO_TEXTS


@dataclass(frozen=True, slots=True, eq=False)
class Readings:
    """Columns of equal length. Nobody writes into the columns of a Readings that was handed on."""

    tag: TagColumn
    time_ns: TimeColumn
    value: ValueColumn
    quality: QualityColumn
    texts: Mapping[int, str] = field(default_factory=_no_texts)

    def __len__(self) -> int:
        return len(self.tag)

    @classmethod
    def empty(cls) -> Readings:
        """No readings."""
        return cls(np.empty(0, np.uint32), np.empty(0, np.int64), np.empty(0, np.float64), np.empty(0, np.uint8))

    @classmethod
    def failed(cls, tags: TagColumn, time_ns: int, quality: Quality) -> Readings:
        """One row without a value for each tag: what a poll gives that got no usable answer."""
        rows = len(tags)
        return cls(
            tags,
            np.full(rows, time_ns, np.int64),
            np.full(rows, np.nan, np.float64),
            np.full(rows, quality, np.uint8),
        )

    def where(self, rows: Mask | NDArray[np.intp] | slice) -> Readings:
        """The chosen rows (a mask, indices or a slice), in order."""
        return Readings(self.tag[rows], self.time_ns[rows], self.value[rows], self.quality[rows], self.texts)

    @staticmethod
    def join(parts: Sequence[Readings]) -> Readings:
        """All rows one after the other."""
        if not parts:
            return Readings.empty()
        if len(parts) == 1:
            return parts[0]
        texts: dict[int, str] = {}
        for part in parts:
            texts.update(part.texts)
        return Readings(
            np.concatenate([part.tag for part in parts]),
            np.concatenate([part.time_ns for part in parts]),
            np.concatenate([part.value for part in parts]),
            np.concatenate([part.quality for part in parts]),
            texts or NO_TEXTS,
        )
