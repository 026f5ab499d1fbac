"""What a scan found, as YAML that pastes into a configuration, and as JSON. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, Final

from gateway.tools.scan_map import TableMap
from gateway.tools.scan_orders import SURE, Guess, favourite, fit, rank, texts

_STANDARD_MOST: Final = 125


@dataclass(frozen=True)
class UnitMap:
    """One unit: what it holds, and a second sample taken a moment later, by table."""

    unit: int
    tables: Sequence[TableMap]
    later: Mapping[str, Mapping[int, int]] = field(default_factory=dict)
    note: str = ""

    @property
    def longest(self) -> int:
        """The longest register read it accepts; 0 where no run was long enough to tell."""
        return max((table.longest for table in self.tables if table.area in {"holding", "input"}), default=0)

    @property
    def short(self) -> bool:
        """Whether it refuses reads that the standard allows though every register answers."""
        return any(
            last - first + 1 > table.longest
            for table in self.tables
            if table.area in {"holding", "input"} and table.searched and table.longest < _STANDARD_MOST
            for first, last in table.runs
        )


@dataclass(frozen=True)
class Entry:
    """One proposed tag (or `count` equal ones), its value, and what else it could be."""

    area: str
    address: int
    type: str
    order: str
    count: int
    value: str
    others: tuple[Guess, ...] = ()
    length: int = 0  # bytes of a text

    @property
    def name(self) -> str:
        """A name to be replaced by a better one."""
        return f"{self.area}_{self.address}"

    def yaml(self) -> str:
        """The tag as a line of YAML."""
        order = f", order: {self.order}" if self.order not in {"", "AB", "ABCD"} else ""
        count = f", count: {self.count}" if self.count > 1 else ""
        count += f", length: {self.length}" if self.length else ""
        others = "".join(f"; or {guess.type} {guess.order} {guess.value:.6g}" for guess in self.others)
        return (
            f"{self.name}: {{address: {self.area}:{self.address}, type: {self.type}{order}{count}}}"
            f"  # {self.value}{others}"
        )


def entries(unit: UnitMap) -> list[Entry]:
    """The tags to propose for a unit: texts, floats where the evidence is good, else plain registers in runs."""
    found: list[Entry] = []
    runs: list[tuple[TableMap, dict[int, list[Guess]], int, int]] = []
    for table in unit.tables:
        if table.area in {"coil", "discrete"}:
            found += (_bits(table, first, last) for first, last in table.runs)
            continue
        written = texts(table.values)
        found += (
            Entry(table.area, first, "string", "", 1, repr(text), length=2 * (last - first + 1))
            for first, last, text in written
        )
        places = set(table.values).difference(*(range(first, last + 1) for first, last, _ in written))
        numbers = TableMap(table.area, {address: table.values[address] for address in places})
        later = unit.later.get(table.area, {})
        for first, last in numbers.runs:
            pairs = {address: rank(_samples(table, later, address)) for address in range(first, last)}
            runs.append((table, pairs, first, last))
    order = favourite([pairs for _, pairs, _, _ in runs])
    for table, pairs, first, last in runs:
        found += _registers(table, pairs, order, first, last)
    areas: list[str] = [table.area for table in unit.tables]
    return sorted(found, key=lambda entry: (areas.index(entry.area), entry.address))


def to_yaml(link: Mapping[str, Any], name: str, units: Sequence[UnitMap]) -> str:
    """A `connections:` section. Units that showed no register are left out, with a comment."""
    lines = ["connections:", f"  {identifier(name)}:"]
    lines += [f"    {key}: {value}" for key, value in link.items()]
    lines.append("    devices:")
    for unit in units:
        tags = entries(unit)
        if not tags:
            lines.append(f"      # unit {unit.unit} answers, but no register was found")
            continue
        lines.append(f"      {identifier(name)}-{unit.unit}:{'  # ' + unit.note if unit.note else ''}")
        lines.append(f"        unit: {unit.unit}")
        if unit.short:
            lines.append(f"        max_registers: {unit.longest}  # longer reads are refused")
        lines.append("        tags:")
        lines += [f"          {entry.yaml()}" for entry in tags]
    return "\n".join(lines) + "\n"


def to_json(link: Mapping[str, Any], units: Sequence[UnitMap]) -> dict[str, Any]:
    """The same for scripts: link, units, ranges, proposals with their alternatives."""
    return {
        "link": dict(link),
        "units": [
            {
                "unit": unit.unit,
                "note": unit.note,
                "longest_read": unit.longest,
                "tables": {table.area: [list(run) for run in table.runs] for table in unit.tables if table.runs},
                "registers": {
                    table.area: {str(address): value for address, value in sorted(table.values.items())}
                    for table in unit.tables
                    if table.runs
                },
                "tags": [
                    {
                        "name": entry.name,
                        "address": f"{entry.area}:{entry.address}",
                        "type": entry.type,
                        "order": entry.order,
                        "count": entry.count,
                        "length": entry.length,
                        "value": entry.value,
                        "others": [guess.__dict__ for guess in entry.others],
                    }
                    for entry in entries(unit)
                ],
            }
            for unit in units
        ],
    }


def identifier(text: str) -> str:
    """A name the configuration accepts."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", text).strip("-")[:48] or "device"


def _bits(table: TableMap, first: int, last: int) -> Entry:
    bits = " ".join(str(table.values[address]) for address in range(first, min(last, first + 31) + 1))
    return Entry(table.area, first, "bool", "", last - first + 1, bits)


def _samples(table: TableMap, later: Mapping[int, int], address: int) -> list[tuple[int, int]]:
    samples = [(table.values[address], table.values[address + 1])]
    if address in later and address + 1 in later:
        samples.append((later[address], later[address + 1]))
    return samples


def _registers(table: TableMap, pairs: Mapping[int, list[Guess]], order: str, first: int, last: int) -> Iterator[Entry]:
    kinds: list[tuple[int, Guess | None]] = []
    aligned = fit(pairs, order)[1]
    address = first
    while address <= last:
        guess = _float(pairs.get(address, []), order) if address >= aligned else None
        kinds.append((address, guess))
        address += 1 if guess is None else 2
    for is_float, group in groupby(kinds, key=lambda each: each[1] is not None):
        members = list(group)
        if not is_float:
            values = " ".join(str(table.values[place]) for place, _ in members[:16])
            yield Entry(table.area, members[0][0], "uint16", "", len(members), values)
            continue
        for place, guess in members:
            if guess is not None:
                others = tuple(other for other in pairs[place] if other is not guess)[:3]
                yield Entry(table.area, place, guess.type, guess.order, 1, f"{guess.value:.6g}", others)


def _float(guesses: Sequence[Guess], order: str) -> Guess | None:
    """The float the pair most plausibly is in the unit's own order."""
    return next(
        (guess for guess in guesses if guess.type == "float32" and guess.order == order and guess.score >= SURE), None
    )
