"""What two neighbouring registers could mean: types and byte orders, the plausible ones first. Pure.

A wrong order moves a float's exponent to a random place, so most wrong readings are absurdly large or small, and a
second sample makes them jump. That is all the evidence there is: a ranking, no proof.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

ORDERS: Final = ("ABCD", "CDAB", "BADC", "DCBA")
SURE: Final = 0.75  # from here on a float is proposed
_STEADY: Final = 0.25  # relative change between two samples that a process value rarely exceeds
_TEXT: Final = re.compile(rb"[A-Za-z0-9 _./:#+-][A-Za-z0-9 _./:#+\0-]")
_SHORTEST_TEXT: Final = 5
_BOTH_SMALL: Final = 0.65
_USUAL: Final = (1e-2, 1e6)
_POSSIBLE: Final = (1e-4, 1e9)


@dataclass(frozen=True)
class Guess:
    """One interpretation of a register pair, its newest value, and how plausible it is (0 to 1)."""

    type: str
    order: str
    value: float
    score: float


def rank(samples: Sequence[Sequence[int]]) -> list[Guess]:
    """Interpretations of a pair of registers, best first; `samples` are (first, second) words, the newest last.

    `uint16` stands for two separate registers.
    """
    separate = _separate(samples)
    guesses = [_guess("float32", order, samples) for order in ORDERS[:2]]
    # Two small numbers are never a usual float, unless its bytes are swapped: then they are one by chance.
    doubt = 0.7 if separate >= _BOTH_SMALL else 1.0
    swapped = (_guess("float32", order, samples) for order in ORDERS[2:])
    guesses += (replace(guess, score=guess.score * doubt) for guess in swapped)
    guesses += [_guess(kind, order, samples) for kind in ("uint32", "int32") for order in ORDERS[:2]]
    guesses.append(Guess("uint16", "AB", float(samples[-1][0]), separate))
    return sorted((guess for guess in guesses if guess.score > 0.0), key=lambda guess: -guess.score)


def favourite(runs: Sequence[Mapping[int, Sequence[Guess]]]) -> str:
    """The float order that fits best over runs of registers (guesses by address); ABCD without evidence.

    Floats in a row also look like floats of the opposite word order when read one register late, so the start of a
    run and even addresses count as evidence.
    """
    return max(ORDERS, key=lambda order: sum(fit(run, order)[0] for run in runs))


def fit(run: Mapping[int, Sequence[Guess]], order: str) -> tuple[float, int]:
    """How well a run reads as floats of `order`, and the address of the first of them."""
    first = min(run, default=0)
    fits = []
    for start in (first, first + 1):
        weight = (0.9 if start % 2 else 1.0) * (0.95 if start != first else 1.0)
        scores = (
            guess.score
            for address in range(start, first + len(run), 2)
            for guess in run[address]
            if (guess.type, guess.order) == ("float32", order) and guess.score >= SURE
        )
        fits.append((weight * sum(scores), start))
    return max(fits, key=lambda each: each[0])


def texts(words: Mapping[int, int]) -> list[tuple[int, int, str]]:
    """Runs of registers that read as text: (first, last, text), padding zeros included; `words` by address.

    At least five letters, digits or usual signs in a row: four of them are a number by chance once in 200 times.
    """
    found: list[tuple[int, int, str]] = []
    addresses = sorted(words)
    place = 0
    while place < len(addresses):
        end, text = place, ""
        while end < len(addresses) and addresses[end] == addresses[place] + end - place:
            piece = words[addresses[end]].to_bytes(2, "big")
            if "\0" in text or not _TEXT.fullmatch(piece):
                break
            text += piece.decode("ascii")
            end += 1
        length = len(text.rstrip("\0"))
        while end < len(addresses) and addresses[end] == addresses[end - 1] + 1 and words[addresses[end]] == 0:
            end += 1
        if length >= _SHORTEST_TEXT:
            found.append((addresses[place], addresses[end - 1], text.rstrip("\0")))
            place = end
        else:
            place += 1
    return found


def value_of(words: Sequence[int], kind: str, order: str) -> float:
    """A pair of registers read as `kind` in `order`."""
    wire = struct.pack(">2H", *words)
    big = bytes(wire[order.index(letter)] for letter in "ABCD")
    form = {"float32": ">f", "uint32": ">I", "int32": ">i"}[kind]
    return float(struct.unpack(form, big)[0])


def _guess(kind: str, order: str, samples: Sequence[Sequence[int]]) -> Guess:
    values = [value_of(words, kind, order) for words in samples]
    plausible = _float(values[-1]) if kind == "float32" else _integer(kind, values[-1])
    return Guess(kind, order, values[-1], plausible * _steadiness(values))


def _float(value: float) -> float:
    size = abs(value)
    if not math.isfinite(value) or size == 0.0:
        return 0.0
    if _USUAL[0] <= size <= _USUAL[1]:
        return 1.0
    return 0.4 if _POSSIBLE[0] <= size <= _POSSIBLE[1] else 0.0


def _integer(kind: str, value: float) -> float:
    """A counter beyond 16 bits has a small high word; a negative number is written in all 32 bits."""
    if kind == "int32":
        return 0.55 if -65_536 <= value < 0 else 0.0
    return 0.6 if 65_536 <= value < 2.0**26 else 0.2 if value < 2.0**30 else 0.0


def _separate(samples: Sequence[Sequence[int]]) -> float:
    first, second = samples[-1]
    small = sum(1 for word in (first, second) if word <= 10_000 or word >= 65_536 - 1_000)
    return (0.15, 0.35, _BOTH_SMALL)[small]


def _steadiness(values: Sequence[float]) -> float:
    worst = 0.0
    for before, after in pairwise(values):
        if not (math.isfinite(before) and math.isfinite(after)):
            return 0.1
        size = max(abs(before), abs(after))
        worst = max(worst, abs(after - before) / size if size else 0.0)
    return 1.0 if worst <= _STEADY else 0.8 if worst <= 1.0 else 0.2
