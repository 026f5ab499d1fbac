"""A file -> Configuration, or every error in it at once.

    text -> document -> root model -> connections -> tags and steps -> derived -> what only the whole can tell
Each pass goes on with what the one before could use, so one fault never hides another.
"""

from __future__ import annotations

import copy
import hashlib
import io
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from gateway.config.across import check_across
from gateway.config.configuration import Bus, Configuration, TagPlan
from gateway.config.document import Path as Place
from gateway.config.document import parse
from gateway.config.findings import Findings
from gateway.config.prune import cut, without_faults
from gateway.config.root import Root
from gateway.config.wording import suggest
from gateway.errors import ConfigError
from gateway.field.contract import ConnectionSettings, DeviceSettings, Driver, TagSettings
from gateway.field.drivers import drivers
from gateway.pipeline.alarms import AlarmSettings
from gateway.pipeline.alarms import problems as alarm_problems
from gateway.pipeline.derived import DEVICE, DerivedSettings, DerivedTag, resolve
from gateway.pipeline.settings import STEPS, Step, computed, computed_alarms, hints, outgoing, problems
from gateway.readings import Tag
from gateway.runtime.model import Settings, nearest
from gateway.runtime.settings import fingerprint

_STAND_INS: Final = {  # for required sections with faults, so that the rest is checked
    "gateway": {"name": "unnamed"},
    "connections": {"unnamed": None},
    "upstreams": {"unnamed": {"broker": "mqtt://127.0.0.1"}},
}
_ROUNDS: Final = 4  # each round cuts faults out; a model's own check may find more in what is left


def load(file: Path, *, running: bool = False) -> Configuration:
    """Read and check a configuration file. FileNotFoundError, or ConfigError with every finding.

    `running` is for a daemon's start, which goes on although a secret or the spool's folder is missing; that is an
    error for everybody else, and for a reload.
    """
    data = file.read_bytes()
    try:
        text = io.TextIOWrapper(io.BytesIO(data), encoding="utf-8").read()
    except UnicodeDecodeError as error:
        findings = Findings(str(file), parse("{}"))
        findings.error((), f"this is no UTF-8 text: byte {error.start}")
        raise ConfigError(findings.errors) from error
    return replace(load_text(text, file, running=running), digest=hashlib.sha256(data).hexdigest())


def load_text(text: str, file: Path, *, running: bool = False) -> Configuration:
    """Check a configuration's text; `file` names it in the findings."""
    document = parse(text)
    findings = Findings(str(file), document, running=running)
    for fault in document.faults:
        findings.fault(fault)
    if document.data is None:
        raise ConfigError(findings.errors)
    configuration = _Reader(findings, document.data, file).read()
    errors = findings.errors
    if errors or configuration is None:
        raise ConfigError(errors, findings.warnings)
    return configuration


def _behind(root: Root, buses: Mapping[str, Bus]) -> dict[str, str]:
    parts: dict[str, Settings] = {"status": root.status}
    parts |= {f"upstreams.{name}": upstream for name, upstream in root.upstreams.items()}
    parts |= {f"connections.{name}": bus.settings for name, bus in buses.items()}
    return {name: fingerprint(settings) for name, settings in parts.items()}


class _Reader:
    """The passes over one document."""

    def __init__(self, findings: Findings, data: Any, file: Path) -> None:
        self._findings = findings
        self._data = data if isinstance(data, dict) else {}
        self._whole = data
        self._file = file
        self._profiles: dict[str, tuple[Step, ...]] = {}
        self._broken_profiles: set[str] = set()
        self._used_profiles: set[str] = set()
        self._tags: list[TagPlan] = []
        self._faulty: dict[str, Tag] = {}  # tags with an error of their own, so that nobody calls them unknown
        self._homes: dict[str, str] = {}  # connection by device

    def read(self) -> Configuration | None:
        root = self._model(Root, self._whole, ()) or self._rest_of_root()
        self._read_profiles()
        buses = self._read_buses()
        derived = self._read_derived()
        for name in self._profiles.keys() - self._used_profiles:
            self._findings.warning(("profiles", name), "no tag uses this profile")
        if root is None:
            return None
        configuration = Configuration(self._file, root, buses, tuple(self._tags), derived)
        check_across(configuration, self._findings, self._written())
        return replace(configuration, warnings=tuple(self._findings.warnings), behind=_behind(root, buses))

    def _written(self) -> dict[str, list[str]]:
        """Every device that stands in the file with its tags, faulty or not."""
        found: dict[str, list[str]] = {}
        for connection in self._section("connections").values():
            devices = connection.get("devices") if isinstance(connection, dict) else None
            for name, device in devices.items() if isinstance(devices, dict) else ():
                tags = device.get("tags") if isinstance(device, dict) else None
                found[name] = list(tags) if isinstance(tags, dict) else []
        return found

    def _rest_of_root(self) -> Root | None:
        rest = copy.deepcopy(self._data)
        for _ in range(_ROUNDS):
            try:
                return Root.model_validate(rest)
            except ValidationError as error:
                cut(rest, error.errors(include_url=False))
                rest = {**_STAND_INS, **rest}
        return None

    def _model(self, model: Any, data: Any, place: Place) -> Any:
        try:
            return TypeAdapter(model).validate_python(data)
        except ValidationError as error:
            self._findings.add(error.errors(include_url=False), place, model)
            return None

    def _read_profiles(self) -> None:
        for name, raw in self._section("profiles").items():
            steps = self._steps(raw, ("profiles", name))
            if steps is None:
                self._broken_profiles.add(name)
            else:
                self._profiles[name] = steps

    def _steps(self, raw: Any, place: Place) -> tuple[Step, ...] | None:
        try:
            return tuple(STEPS.validate_python(raw))
        except ValidationError as error:
            self._findings.add(error.errors(include_url=False), place, list[Step])
            return None

    def _section(self, name: str) -> Mapping[str, Any]:
        section = self._data.get(name)
        return section if isinstance(section, dict) else {}

    def _read_buses(self) -> dict[str, Bus]:
        known = drivers()
        default = self._default_every()
        buses: dict[str, Bus] = {}
        for name, raw in self._section("connections").items():
            settings, driver = self._connection(name, raw, known)
            if settings is None or driver is None:
                continue
            every = {name: default if model.every is None else model.every for name, model in settings.devices.items()}
            for severity, place, text in settings.findings(every):
                self._findings.note(severity, ("connections", name, *place), text)
            buses[name] = Bus(name, driver, settings.for_source(), every)
            for device, model in settings.devices.items():
                self._read_device(name, device, model, every[device])
        return buses

    def _default_every(self) -> float:
        try:
            return Root.model_fields["defaults"].annotation.model_validate(self._data.get("defaults", {})).every  # type: ignore[union-attr, no-any-return]  # the field is a model
        except ValidationError:
            return 1.0  # reported with the root model

    def _connection(
        self, name: str, raw: Any, known: Mapping[str, Driver]
    ) -> tuple[ConnectionSettings | None, Driver | None]:
        place: Place = ("connections", name)
        if not isinstance(raw, dict):
            self._findings.error(place, "expected keys and values")
            return None, None
        word = raw.get("driver")
        driver = known.get(word) if isinstance(word, str) else None
        if driver is None and "driver" not in raw and (key := nearest("driver", raw)):
            self._findings.error((*place, key), "unknown key", 'did you mean "driver"', key=True)
            return None, None
        if driver is None:
            what = "this key is missing" if word is None else f"unknown driver {word!r}"
            self._findings.error((*place, "driver"), f"{what}: one of {', '.join(known)}", suggest(str(word), known))
            return None, None
        settings = self._model(driver.connection, raw, place)
        return settings or self._rest_of_connection(driver, raw, place), driver

    def _rest_of_connection(self, driver: Driver, raw: Any, place: Place) -> ConnectionSettings | None:
        """What is valid of a connection with faults, so that the faults of the rest are found as well."""
        rest = copy.deepcopy(raw)
        for _ in range(_ROUNDS):
            try:
                return driver.connection.model_validate(rest)
            except ValidationError as error:
                for tag in without_faults(rest, error.errors(include_url=False)):
                    self._note_faulty_tag(raw, tag, place)
        return None

    def _note_faulty_tag(self, raw: Any, tag: tuple[str, str], place: Place) -> None:
        device, name = tag
        self._faulty[f"{device}.{name}"] = Tag(device, name)
        entry = raw["devices"][device]["tags"][name]
        where = (*place, "devices", device, "tags", name)
        if isinstance(entry, dict):
            self._check_profile(entry.get("profile"), where)
            if isinstance(entry.get("steps"), list):
                self._steps(entry["steps"], (*where, "steps"))

    def _read_device(self, connection: str, device: str, model: DeviceSettings, every_s: float) -> None:
        place: Place = ("connections", connection, "devices", device)
        if device in self._homes:
            other = self._homes[device]
            self._findings.error(place, f"this device name stands in connection {other} too", key=True)
            return
        self._homes[device] = connection
        names: dict[str, str] = {}
        for entry, settings in model.tags.items():
            for tag in settings.expand(device, entry):
                if tag.name in names:
                    text = f"tag {tag.full_name} is already given by {names[tag.name]}"
                    self._findings.error((*place, "tags", entry), text, key=True)
                    continue
                names[tag.name] = entry
                self._read_tag(tag, settings, (*place, "tags", entry), every_s)

    def _read_tag(self, tag: Tag, settings: TagSettings | DerivedTag, place: Place, every_s: float | None) -> None:
        steps = self._steps_of(settings, place) or ()
        where = (*place, "profile" if settings.profile is not None else "steps")
        for number, text in problems(tag, steps):
            self._findings.error(where if settings.profile is not None else (*where, number), text)
        for text in hints(tag, steps):
            self._findings.warning(where, text)
        for text in alarm_problems(tag) if settings.alarm is not None else ():
            self._findings.error((*place, "alarm"), text)
        alarm = None if settings.alarm is None else self._model(AlarmSettings, settings.alarm, (*place, "alarm"))
        # a written value keeps the register's type, so only a tag that can't be written takes the steps' own
        self._tags.append(TagPlan(tag if tag.write else outgoing(tag, steps), steps, alarm, every_s))
        alarms = computed_alarms(tag, steps)
        self._tags.extend(
            TagPlan(more, alarm=alarms.get(more.name), every_s=every_s, computed=True) for more in computed(tag, steps)
        )

    def _steps_of(self, settings: TagSettings | DerivedTag, place: Place) -> tuple[Step, ...] | None:
        own = None if settings.steps is None else self._steps(settings.steps, (*place, "steps"))
        if settings.profile is None:
            return own
        if settings.steps is not None:
            self._findings.error((*place, "steps"), "profile and steps exclude each other: put all steps in one place")
        self._check_profile(settings.profile, place)
        return self._profiles.get(settings.profile)

    def _check_profile(self, name: Any, place: Place) -> None:
        known = self._broken_profiles | self._profiles.keys()
        if isinstance(name, str):
            self._used_profiles.add(name)
        if isinstance(name, str) and name not in known:
            self._findings.error((*place, "profile"), f"there is no profile {name!r}", suggest(name, known))

    def _read_derived(self) -> DerivedSettings | None:
        raw = self._data.get("derived")
        settings: DerivedSettings | None = None if raw is None else self._model(DerivedSettings, raw, ("derived",))
        if settings is None:
            return None
        if DEVICE in self._homes:
            self._findings.error(("derived",), f"a device is called {DEVICE}, which names the derived tags", key=True)
            return None
        own = {plan.tag.full_name: plan.tag for plan in self._tags if not plan.computed}
        tags, faults = resolve(settings, {**self._faulty, **own})
        for below, text, hint in faults:
            self._findings.error(("derived", *below), text, hint)
        for name, tag in tags.items():
            self._read_tag(tag, settings.tags[name], ("derived", "tags", name), None)
        return settings
