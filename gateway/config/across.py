"""What only the whole configuration can tell: names that must differ, places that must exist and can be written."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path

from gateway.config.configuration import Bus, Configuration
from gateway.config.findings import Findings
from gateway.config.wording import suggest
from gateway.upstream.select import selected, unmatched

Written = Mapping[str, Collection[str]]  # tags by device


def check_across(configuration: Configuration, findings: Findings, written: Written) -> None:
    """Note every fault between the parts of a configuration; what is `written` is not unknown, be it faulty or not."""
    _check_buses(configuration, findings)
    _check_upstreams(configuration, findings, written)
    _check_log(configuration, findings, written)
    path = configuration.root.spool.path
    if path is not None and not path.is_absolute():
        text = "is relative: where it lies depends on the folder the daemon is started in"
        findings.warning(("spool", "path"), text)
    if path is not None and (problem := unwritable(path)):
        findings.note("machine", ("spool", "path"), problem)
    token = configuration.root.status.token
    if token is not None and (problem := token.problem()):
        findings.note("machine", ("status", "token"), problem)


def _check_buses(configuration: Configuration, findings: Findings) -> None:
    seen: dict[frozenset[tuple[str, object]], Bus] = {}
    for name, bus in configuration.buses.items():
        place = frozenset((word, _place(getattr(bus.settings, word))) for word in bus.driver.keys if _given(bus, word))
        other = seen.setdefault(place, bus) if place else bus
        if other is not bus:
            words = [word for word in bus.driver.keys if _given(bus, word)]
            same = other.driver is bus.driver
            advice = "put all devices under one of them" if same else "only one of them can have it"
            text = f"connection {other.name} uses the same {' and '.join(words)}: {advice}"
            findings.error(("connections", name, words[0]), text)


def _given(bus: Bus, word: str) -> bool:
    return getattr(bus.settings, word) is not None


def _place(value: object) -> object:
    """A host, port or device as it is told from others: /dev/serial/by-id/... is a link to one of /dev/ttyUSB*."""
    return os.path.realpath(value) if isinstance(value, str) and value.startswith("/") else value


def _check_upstreams(configuration: Configuration, findings: Findings, written: Written) -> None:
    root = configuration.root
    site = {key: value for key, value in root.gateway.site.model_dump().items() if value}
    known_site = None if any(finding.path.startswith("gateway.") for finding in findings.errors) else site
    names = [plan.tag.full_name for plan in configuration.tags]
    names += [f"{device}.{tag}" for device, tags in written.items() for tag in tags]
    ids: dict[tuple[str, str], str] = {}
    for name, upstream in root.upstreams.items():
        for severity, place, text in upstream.findings(known_site):
            findings.note(severity, ("upstreams", name, *place), text)
        unknown = unmatched(upstream.select, names)
        for pattern in unknown:
            place = ("upstreams", name, "select", (upstream.select or []).index(pattern))
            findings.warning(place, f"{pattern!r} chooses no tag", suggest(pattern, names))
        for url in upstream.broker:
            other = ids.setdefault((url, upstream.client_id_of(root.gateway.name, name)), name)
            if other != name:
                text = f"upstream {other} has the same client id at this broker: they would throw each other out"
                findings.error(("upstreams", name, "client_id" if upstream.client_id else "broker"), text)
        if names and not unknown and not any(selected(upstream.select, each) for each in names):
            findings.warning(("upstreams", name, "select"), "chooses no tag at all: nothing will be sent")
        if upstream.commands and not any(plan.tag.write for plan in configuration.tags) and not findings.errors:
            findings.warning(("upstreams", name, "commands"), "no tag has write: there is nothing to command")
        if upstream.format == "sparkplug":
            _check_case(configuration, findings, name)


def _check_case(configuration: Configuration, findings: Findings, upstream: str) -> None:
    """Warn of device ids, and of one device's metric names, that a host without an eye for case mixes up."""
    chosen = configuration.root.upstreams[upstream].select
    leaving = [plan.tag for plan in configuration.tags if selected(chosen, plan.tag.full_name)]
    seen: dict[tuple[str, str], str] = {}
    for tag in leaving:
        ids = (("", tag.device.lower()), tag.device), ((tag.device, tag.name.lower()), tag.full_name)
        for key, name in ids:
            other = seen.setdefault(key, name)
            if other != name:
                seen[key] = name  # said once
                text = f"{other} and {name} differ in case only: Sparkplug hosts may mix them up"
                findings.warning(("upstreams", upstream, "format"), text)


def _check_log(configuration: Configuration, findings: Findings, devices: Collection[str]) -> None:
    for device in configuration.root.log.devices:
        if device not in devices:
            place = ("log", "devices", device)
            findings.error(place, f"there is no device {device!r}", suggest(device, devices), key=True)


def unwritable(path: Path) -> str:
    """Why a file can't be made or written at a path, empty where it can. Leaves nothing behind.

    A folder that does not exist yet and that we may not make here is no fault: systemd or an installer makes it.
    """
    if path.is_dir():
        return f"{path} is a folder, expected a file"
    if path.exists() and not os.access(path, os.W_OK):
        return f"can't be written: {path}"
    folder = path.parent
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    try:
        with tempfile.TemporaryDirectory(prefix=".gateway-check-", dir=folder):
            return ""
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            return ""  # the spool copes with a full disk, and a reload may be what helps
        if folder != path.parent and error.errno in {errno.EACCES, errno.EPERM}:
            return ""
        return f"can't be written: {error.strerror}: {folder}"
