"""`gateway audit verify FILE`: whether the audit log's chain holds."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from gateway.runtime.audit import Verdict
from gateway.runtime.audit import verify as check


def verify(path: Path) -> tuple[bool, str]:
    """Whether the log is whole, and one line for people. OSError where it is not there or can't be read."""
    verdict: Verdict = check(path)
    if not verdict.files:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
    if verdict.fault:
        return False, f"gateway: {verdict.fault} ({verdict.records} records before it are in order)"
    plural = "" if verdict.files == 1 else "s"
    found = f"{verdict.records} records in {verdict.files} file{plural}"
    return True, f"{path}: {found} are in order, newest hash {verdict.last}"
