"""`gateway audit verify FILE`: whether the audit log's chain holds."""

from __future__ import annotations

from pathlib import Path

from gateway.runtime.audit import Verdict
from gateway.runtime.audit import verify as check


def verify(path: Path) -> tuple[bool, str]:
    """Whether the log is whole, and one line for people. OSError where it can't be read."""
    verdict: Verdict = check(path)
    if verdict.fault:
        return False, f"{verdict.fault} ({verdict.records} records before it are in order)"
    plural = "" if verdict.files == 1 else "s"
    return True, f"{verdict.records} records in {verdict.files} file{plural} are in order, newest hash {verdict.last}"
