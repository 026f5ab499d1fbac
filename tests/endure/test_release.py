"""`make audit`: the bill of materials of a release is whole, and the word about its vulnerabilities is clear."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.endure, pytest.mark.timeout(600)]


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_the_bill_of_materials_names_all_of_the_lock() -> None:
    done = subprocess.run([ROOT / "deploy" / "audit.sh"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "with known vulnerabilities" in done.stdout or "NOT AUDITED" in done.stdout
    bill = json.loads((ROOT / "build" / "sbom.json").read_text(encoding="utf-8"))
    assert bill["bomFormat"] == "CycloneDX"
    named = {(normal(part["name"]), part["version"]) for part in bill["components"]}
    text = (ROOT / "deploy" / "requirements.lock").read_text(encoding="utf-8")
    locked = {(normal(name), version) for name, version in re.findall(r"^([\w.-]+)==([\w.]+)", text, re.MULTILINE)}
    assert named == locked
    assert all(part.get("hashes") or part.get("externalReferences") for part in bill["components"])
