"""The steps of a profile or tag: their models, what they demand of a tag, and the tags they add. Pure, without numba.

In the file a step is a mapping with one key: `- deadband: {absolute: 2}`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Annotated, Any, Final, Literal

from pydantic import (
    AfterValidator,
    ConfigDict,
    Field,
    PlainValidator,
    PositiveFloat,
    TypeAdapter,
    WithJsonSchema,
    model_validator,
)

from gateway.pipeline.alarms import AlarmSettings
from gateway.readings import INTEGER_LIMITS, Tag
from gateway.runtime.model import Fault, Settings, across
from gateway.runtime.settings import Duration, Name


def _odd(value: int) -> int:
    if value % 2 == 0:
        raise ValueError("expected an odd number: the window is centred on a reading")
    return value


def _deviation(value: Any) -> float | Literal["auto"]:
    if value == "auto":
        return "auto"
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError("expected a number above zero, or auto")
    if value <= 0:
        raise ValueError("expected a deviation above zero; to drop only repeated values use on-change")
    return float(value)


def _each_once(words: tuple[str, ...]) -> tuple[str, ...]:
    if not words:
        raise ValueError("expected at least one word, such as mean")
    if len(set(words)) != len(words):
        raise ValueError("expected each word once")
    return words


Window = Annotated[int, Field(ge=3, le=63), AfterValidator(_odd)]
Deviation = Annotated[
    float | Literal["auto"],
    PlainValidator(_deviation),
    WithJsonSchema({"anyOf": [{"type": "number", "exclusiveMinimum": 0}, {"const": "auto"}]}),
]
Statistic = Literal["min", "max", "mean", "std", "count", "last", "integral"]


class StepSettings(Settings):
    """The key every step has: the longest silence of a lossy step, and how often a lasting bad reading is repeated."""

    max_interval: Duration | None = None


class Spike(StepSettings):
    """Hampel filter: a reading further than `sigmas` robust deviations from its window's median becomes the median."""

    window: Window = 5
    sigmas: PositiveFloat = 3.0


class Median(StepSettings):
    """Each reading becomes the median of the window centred on it."""

    window: Window = 3


class Smooth(StepSettings):
    """First-order low-pass, correct for uneven sampling."""

    time_constant: Duration


class Rate(StepSettings):
    """Change per `per`."""

    per: Duration = 1.0


class Counter(StepSettings):
    """Unfolds a counter of `bits` bits that rolls over or is reset into a running total."""

    bits: int = Field(default=32, ge=4, le=64)


class Deadband(StepSettings):
    """A reading passes when it differs by more than the band from the last one sent."""

    absolute: PositiveFloat | None = None
    percent: Annotated[float, Field(gt=0, le=100)] | None = None  # of the tag's range

    @across("absolute", "percent")
    def _one_of_two(self) -> Iterator[Fault]:
        if (self.absolute is None) == (self.percent is None):
            yield (), "expected either absolute or percent"

    def band(self, tag: Tag) -> float:
        """The band in engineering units."""
        if self.absolute is not None:
            return self.absolute
        return (self.percent or 0.0) / 100.0 * ((tag.high or 0.0) - (tag.low or 0.0))


class OnChange(StepSettings):
    """A reading passes when it differs from the last one sent."""


class SwingingDoor(StepSettings):
    """Keeps the readings from which straight lines come within `deviation` of every dropped one.

    A flat value is repeated at least once a day, so that silence never means "unchanged" for ever.
    """

    deviation: Deviation
    max_interval: Duration | None = 86400.0


class Aggregate(StepSettings):
    """Statistics over windows of the UTC grid, each a tag of its own: `tag.min`, `tag.max`, ..."""

    every: Duration
    compute: Annotated[
        tuple[Statistic, ...],
        Field(strict=False, json_schema_extra={"minItems": 1, "uniqueItems": True}),
        AfterValidator(_each_once),
    ]
    raw: bool = True  # whether the readings themselves go on to the next step


class Band(Settings):
    """A frequency band in Hz, the upper edge excluded."""

    low: float = Field(ge=0)
    high: PositiveFloat

    @across("low", "high")
    def _in_order(self) -> Iterator[Fault]:
        if self.high <= self.low:
            yield ("high",), "expected high above low"


class Vibration(StepSettings):
    """Features of a waveform, each a tag of its own: `tag.rms`, `tag.peak`, `tag.crest`, `tag.kurtosis`, `tag.<band>`.

    The waveform is one answer of an array (`count`), or `window` readings of a fast single tag.
    """

    window: int = Field(default=1024, ge=8, le=65536)  # of a single tag; an array is its own window
    sample_rate: PositiveFloat | None = None  # Hz; without it taken from the times, which an array doesn't have
    bands: Mapping[Name, Band] = Field(default_factory=dict)
    raw: bool = True  # whether the readings themselves go on to the next step

    @across("bands")
    def _no_clash(self) -> Iterator[Fault]:
        for name in sorted(set(FEATURES) & set(self.bands)):
            yield ("bands", name), f"{name} is the name of a feature, not free for a band"


class Anomaly(StepSettings):
    """Scores every reading from 0 (usual) to 1 as `tag.anomaly`, which may have an alarm of its own."""

    alarm: AlarmSettings | None = None


class Step(Settings):
    """One step: exactly one of the keys."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1, "maxProperties": 1})

    spike: Spike | None = None
    median: Median | None = None
    smooth: Smooth | None = None
    counter: Counter | None = None
    rate: Rate | None = None
    vibration: Vibration | None = None
    anomaly: Anomaly | None = None
    aggregate: Aggregate | None = None
    deadband: Deadband | None = None
    on_change: OnChange | None = Field(default=None, alias="on-change")
    swinging_door: SwingingDoor | None = Field(default=None, alias="swinging-door")

    @model_validator(mode="before")
    @classmethod
    def _is_one_key(cls, value: Any) -> Any:
        if isinstance(value, Step):
            return value
        if not isinstance(value, dict):
            raise ValueError("expected one step with its settings, such as deadband: {absolute: 2}")
        if len(value) != 1:
            raise ValueError("expected exactly one step here; each step is an item of the list")
        name, settings = next(iter(value.items()))
        if settings is None:
            raise ValueError(f"expected settings; where all may be left out write {name}: {{}}")
        return value

    @property
    def settings(self) -> StepSettings:
        """The settings of the step that is given."""
        found: StepSettings = getattr(self, next(iter(self.model_fields_set)))
        return found

    @property
    def kind(self) -> str:
        """The step's name as in the file."""
        name = next(iter(self.model_fields_set))
        return type(self).model_fields[name].alias or name


STEPS: Final = TypeAdapter(list[Step])
KINDS: Final = tuple(field.alias or name for name, field in Step.model_fields.items())  # in their usual order
LOSSY: Final = frozenset({"deadband", "on-change", "swinging-door"})
FEATURES: Final = ("rms", "peak", "crest", "kurtosis")
BAD_INTERVAL: Final = 60.0  # seconds between repeats of a lasting bad reading where no step says otherwise
_ADDS_TAGS: Final = ("aggregate", "vibration", "anomaly")
_FOR_TEXT: Final = frozenset({"on-change"})
_FOR_BOOL: Final = frozenset({"on-change", "aggregate", "anomaly"})
_FRACTIONS: Final = frozenset({"smooth", "rate", "counter"})


def problems(tag: Tag, steps: Sequence[Step]) -> list[tuple[int, str]]:
    """Why these steps can't serve this tag, by the number of the step; empty where they can."""
    found: list[tuple[int, str]] = []
    kinds = [step.kind for step in steps]
    allowed = {"text": _FOR_TEXT, "bool": _FOR_BOOL}.get(tag.kind)
    for number, (kind, step) in enumerate(zip(kinds, steps, strict=True)):
        last = number == len(steps) - 1
        if allowed is not None and kind not in allowed:
            found.append((number, f"{kind} needs numbers, not {tag.type}: use on-change"))
        if kind in LOSSY and not last:
            found.append((number, f"{kind} drops readings, so it must be the last step"))
        if not last and ((step.aggregate and not step.aggregate.raw) or (step.vibration and not step.vibration.raw)):
            found.append((number, f"with raw: false the steps behind {kind} get nothing"))
        if kind in _ADDS_TAGS and kind in kinds[:number]:
            found.append((number, f"{kind} may stand only once"))
        if step.deadband and step.deadband.percent is not None:
            if tag.low is None or tag.high is None:
                found.append((number, "deadband in percent needs the tag's range with min and max"))
            elif tag.high <= tag.low:
                found.append((number, "deadband in percent needs a range with min below max"))
        if step.vibration and step.vibration.bands and step.vibration.sample_rate is None and element(tag) is not None:
            found.append((number, "vibration bands of an array need sample_rate"))
    return found


def hints(tag: Tag, steps: Sequence[Step]) -> list[str]:
    """What works, but is hardly meant."""
    order = [KINDS.index(step.kind) for step in steps if step.kind not in _ADDS_TAGS]
    found = [
        f"{KINDS[earlier]} usually stands behind {KINDS[later]}"
        for earlier, later in pairwise(order)
        if earlier > later
    ]
    bands = [step.deadband.band(tag) for step in steps if step.deadband and outgoing(tag, steps).type == tag.type]
    found += [
        f"a deadband of {band:g} drops repeats only: the value changes by {resolution(tag):g} at least"
        for band in bands
        if 0 < band < resolution(tag)
    ]
    return found


def computed(tag: Tag, steps: Sequence[Step]) -> list[Tag]:
    """The tags these steps add. Of an array, vibration gives its tags with element 0, named after the array."""
    found: list[Tag] = []
    result = outgoing(tag, steps)
    for step in steps:
        if step.aggregate:
            words = step.aggregate.compute
            found += [_added(result, f"{tag.name}.{word}", "aggregate", _statistic(result, word)) for word in words]
        elif step.vibration:
            number = element(tag)
            if not number:
                base = tag.name if number is None else tag.name.rpartition(".")[0]
                units = {"rms": tag.unit, "peak": tag.unit, "crest": "", "kurtosis": ""}
                units |= dict.fromkeys(step.vibration.bands, f"({tag.unit})²" if tag.unit else "")
                found += [_added(tag, f"{base}.{name}", "vibration", {"unit": unit}) for name, unit in units.items()]
        elif step.anomaly:
            limits = {"unit": "", "low": 0.0, "high": 1.0}
            found.append(_added(tag, f"{tag.name}.anomaly", "anomaly", limits))
    return found


def computed_alarms(tag: Tag, steps: Sequence[Step]) -> dict[str, AlarmSettings]:
    """The alarms that stand on tags these steps add, by the added tag's name."""
    return {f"{tag.name}.anomaly": step.anomaly.alarm for step in steps if step.anomaly and step.anomaly.alarm}


def outgoing(tag: Tag, steps: Sequence[Step]) -> Tag:
    """The tag as its readings leave the steps.

    Smooth and rate make a real number of a whole one. The total of a whole counter is whole, and outgrows its type.
    """
    rates = [step.rate for step in steps if step.rate]
    if not any(step.kind in _FRACTIONS for step in steps):
        return tag
    whole = tag.kind == "integer" and not any(step.smooth or step.rate for step in steps)
    unit = tag.unit + "".join(f"/{_per(rate.per)}" for rate in rates)
    if rates or any(step.counter for step in steps):
        return replace(tag, type="int64" if whole else "float64", unit=unit, low=None, high=None)
    return replace(tag, type="float64")


def resolution(tag: Tag) -> float:
    """The smallest difference between two values of the tag, 0 where its type doesn't tell."""
    return abs(tag.scale) if tag.type in INTEGER_LIMITS or tag.type == "bool" else 0.0


def element(tag: Tag) -> int | None:
    """The number of an array's element, None for a single tag."""
    number = tag.name.rpartition(".")[2]
    return int(number) if number != tag.name and number.isdecimal() else None


def _added(tag: Tag, name: str, step: str, changes: Mapping[str, Any]) -> Tag:
    plain: dict[str, Any] = {"type": "float64", "low": None, "high": None, "scale": 1.0, "offset": 0.0}
    return replace(tag, **{**plain, **changes, "name": name, "write": None, "address": step})


def _statistic(tag: Tag, word: str) -> dict[str, Any]:
    if word == "count":
        return {"type": "uint32", "unit": ""}
    if word == "integral":
        return {"unit": f"{tag.unit}·s" if tag.unit else "s"}
    return {"low": tag.low, "high": tag.high} if word != "std" else {}


def _per(seconds: float) -> str:
    words = {1e-3: "ms", 1.0: "s", 60.0: "min", 3600.0: "h", 86400.0: "d"}
    return words.get(seconds, f"{seconds:g}s")
