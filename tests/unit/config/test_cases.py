"""Each folder of tests/cases: gateway.yaml and the findings it must give, errors and warnings, in their order."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.config import load_text
from gateway.errors import ConfigError

ROOT = Path(__file__).parents[3]
CASES = sorted(path.parent for path in (ROOT / "tests/cases").glob("*/expected.txt"))
EXAMPLES = sorted((ROOT / "config").rglob("*.yaml"))


def findings(file: Path) -> str:
    try:
        configuration = load_text(file.read_text(encoding="utf-8"), Path("gateway.yaml"))
    except ConfigError as error:
        lines = [str(finding) for finding in error.findings]
        lines += [f"{finding} [warning]" for finding in error.warnings]
    else:
        lines = [f"{finding} [warning]" for finding in configuration.warnings]
    return "".join(f"{line}\n" for line in lines)


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.name)
def test_findings_of_a_case(case: Path) -> None:
    assert findings(case / "gateway.yaml") == (case / "expected.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_shipped_configuration_is_valid(example: Path) -> None:
    assert load_text(example.read_text(encoding="utf-8"), example).tags


def test_the_contract_example_stands_here_word_for_word() -> None:
    contract = ROOT.parent / "shared/config.md"
    if not contract.exists():
        pytest.skip("the contract's text is not beside this checkout")
    example = contract.read_text(encoding="utf-8").split("```yaml\n")[1].split("```")[0]
    assert (ROOT / "tests/cases/contract_example/gateway.yaml").read_text(encoding="utf-8") == example
