"""A checked expression over tags: a postfix program that computes whole columns. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Column = NDArray[np.float64]
Instruction = tuple[str, int | float]  # ("tag", input), ("number", value) or (operation, operands)


def _truth(a: Any) -> Any:
    return np.where(np.isnan(a), np.nan, a != 0)


def _and(a: Any, b: Any) -> Any:
    return np.minimum(_truth(a), _truth(b))


def _or(a: Any, b: Any) -> Any:
    return np.maximum(_truth(a), _truth(b))


def _compare(operation: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    return lambda a, b: np.where(np.isnan(a) | np.isnan(b), np.nan, operation(a, b))


def _where(condition: Any, a: Any, b: Any) -> Any:
    return np.where(np.isnan(condition), np.nan, np.where(condition != 0, a, b))


_COMPUTE: Final[Mapping[str, Callable[..., Any]]] = MappingProxyType(
    {
        "+": np.add,
        "-": np.subtract,
        "*": np.multiply,
        "/": np.divide,
        "//": np.floor_divide,
        "%": np.mod,
        "**": np.power,
        "<": _compare(np.less),
        "<=": _compare(np.less_equal),
        ">": _compare(np.greater),
        ">=": _compare(np.greater_equal),
        "==": _compare(np.equal),
        "!=": _compare(np.not_equal),
        "and": _and,
        "or": _or,
        "not": lambda a: 1.0 - _truth(a),
        "negative": np.negative,
        "min": np.minimum,
        "max": np.maximum,
        "abs": np.abs,
        "sqrt": np.sqrt,
        "where": _where,
    }
)


@dataclass(frozen=True, slots=True)
class Expression:
    """A checked expression: its inputs by full name, in order of their first use, and its postfix program."""

    text: str
    inputs: tuple[str, ...]
    program: tuple[Instruction, ...]
    unit: str = ""  # where it follows from the inputs
    truth: bool = False  # the result is always 1 or 0

    def evaluate(self, columns: Sequence[Column]) -> Column:
        """The result for each row of the inputs' columns (equal lengths). Never raises: what has no value is NaN."""
        stack: list[Any] = []
        with np.errstate(all="ignore"):
            for word, argument in self.program:
                if word == "tag":
                    stack.append(columns[int(argument)])
                elif word == "number":
                    stack.append(np.float64(argument))
                else:
                    operands = stack[-int(argument) :]
                    del stack[-int(argument) :]
                    stack.append(_COMPUTE[word](*operands))
        rows = len(columns[0]) if columns else 1
        return np.array(np.broadcast_to(stack[0], rows), np.float64)
