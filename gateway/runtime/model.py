"""The base of every model of the configuration, which reports every fault of a mapping at once.

pydantic looks at what keys say together only once each of them is right. Here such checks are marked with `across` and
run even so, unless one of the keys they read is wrong itself: one fault hides no other, and none is reported because of
another.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, ClassVar, Final, Self, TypeVar, get_origin

from pydantic import BaseModel, ConfigDict, ModelWrapValidatorHandler, ValidationError, create_model, model_validator
from pydantic_core import ErrorDetails, InitErrorDetails

Place = tuple[str | int, ...]
Fault = tuple[Place, str]  # where it stands below the model, and what is wrong for people

_READS: Final = "_reads"
Check = TypeVar("Check", bound=Callable[[Any], Iterator[Fault]])


def across(*keys: str) -> Callable[[Check], Check]:
    """Marks a method of a model that yields the faults between keys; it runs where all of `keys` are right."""

    def mark(check: Check) -> Check:
        setattr(check, _READS, frozenset(keys))
        return check

    return mark


def nearest(word: str, known: Iterable[str]) -> str:
    """The known word that was probably meant, or nothing."""
    words = {each.lower(): each for each in known}
    near = difflib.get_close_matches(word.lower(), list(words), n=1, cutoff=0.6)
    return words[near[0]] if near else ""


class Settings(BaseModel):
    """Unknown keys are refused, no type is taken for another (`"1"`, `yes` and 1 are no booleans), nothing changes."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, strict=True)

    _checks: ClassVar[Mapping[str, frozenset[str]]] = {}  # what each check reads, by its name
    _open: ClassVar[frozenset[str] | None] = None  # keys nobody may look at, where only the rest is checked

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        own = {name: check._reads for name, check in vars(cls).items() if hasattr(check, _READS)}  # noqa: SLF001
        cls._checks = {**cls._checks, **own}

    @model_validator(mode="wrap")
    @classmethod
    def _every_fault(cls, value: Any, validate: ModelWrapValidatorHandler[Self]) -> Self:
        try:
            settings = validate(value)
        except ValidationError as error:
            found = error.errors(include_url=False) if cls._open is None else []
            raise _joined(cls, [*found, *cls._further(value, found)]) from None
        faults = [
            _as_error(fault, value)
            for name, reads in cls._checks.items()
            if not reads & (cls._open or frozenset())
            for fault in getattr(settings, name)()
        ]
        if faults:
            raise _joined(cls, faults)
        return settings

    @classmethod
    def _further(cls, value: Any, found: Sequence[ErrorDetails]) -> list[Any]:
        """What is wrong between the keys that have no fault of their own."""
        if not found or not cls._checks or not all(error["loc"] for error in found) or not isinstance(value, Mapping):
            return []
        rest, wrong = _without(cls, value, found)
        try:
            _partly(cls, frozenset(wrong)).model_validate(rest)
        except ValidationError as error:
            return list(error.errors(include_url=False))
        return []


@lru_cache(64)  # one fault is often made a thousand times
def _partly(model: type[Settings], wrong: frozenset[str]) -> type[Settings]:
    """The model without a look at the wrong keys."""
    fields: dict[str, Any] = {key: (Any, None) for key in wrong if key in model.model_fields}
    partly = create_model(model.__name__, __base__=model, __module__=model.__module__, **fields)
    partly._open = wrong  # noqa: SLF001
    return partly


def _without(
    model: type[BaseModel], value: Mapping[str, Any], found: Sequence[ErrorDetails]
) -> tuple[dict[str, Any], set[str]]:
    """The mapping without what is wrong in it, and the keys that went: of a mapping of models only its wrong entries.

    What an unknown key was probably meant to be, went too.
    """
    unknown = [str(error["loc"][0]) for error in found if error["type"] == "extra_forbidden" and len(error["loc"]) == 1]
    rest, wrong = dict(value), {nearest(key, model.model_fields) for key in unknown} - value.keys()
    for first, *below in (error["loc"] for error in found):
        key = str(first)
        field = model.model_fields.get(key)
        if below and field is not None and get_origin(field.annotation) is Mapping:
            rest[key] = {name: entry for name, entry in rest.get(key, {}).items() if name != below[0]}
        else:
            rest[key] = {}
        if not rest[key]:
            del rest[key]
            wrong.add(key)
    return rest, wrong


def _as_error(fault: Fault, value: Any) -> InitErrorDetails:
    place, text = fault
    return InitErrorDetails(type="value_error", loc=place, input=value, ctx={"error": ValueError(text)})


def _joined(model: type[BaseModel], errors: Sequence[Any]) -> ValidationError:
    lines = [
        InitErrorDetails(type=error["type"], loc=error["loc"], input=error["input"], ctx=error.get("ctx", {}))
        for error in errors
    ]
    return ValidationError.from_exception_data(model.__name__, lines)
