"""The conformance suite: every assertion of the Sparkplug 3.0 specification that concerns an edge node, by its id.

Scenarios play once on real brokers behind a tap (tests/fakes/sparkplug); each assertion is a check over what the tap
wrote down. Each check is shown to object to transcripts that were spoiled in the way it speaks of.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

import pytest

from tests.fakes.sparkplug.assertions import ASSERTIONS
from tests.fakes.sparkplug.checks import (
    births,
    commands,
    forwarding,
    metrics,
    primary,
    properties,
    publish,
    session,
    templates,
    topics,
)
from tests.fakes.sparkplug.rules import Rule, Spoil
from tests.fakes.sparkplug.transcript import Suite

RULES: Final[tuple[Rule, ...]] = (
    *topics.RULES, *session.RULES, *primary.RULES, *publish.RULES, *births.RULES, *metrics.RULES, *properties.RULES,
    *commands.RULES, *templates.RULES,
)  # fmt: skip
OURS: Final[tuple[Rule, ...]] = (*commands.OURS, *forwarding.OURS)
BY_ID: Final = {identity: rule for rule in (*RULES, *OURS) for identity in rule.ids}
SPOILED: Final = [
    pytest.param(rule, spoil, id=f"{rule.ids[0]}-{number}")
    for rule in (*RULES, *OURS)
    for number, spoil in enumerate(rule.spoils)
]


def test_every_assertion_has_one_check_and_no_check_an_unknown_id() -> None:
    checked = Counter(identity for rule in RULES for identity in rule.ids)
    assert set(checked) == set(ASSERTIONS)
    assert [identity for identity, times in checked.items() if times > 1] == []
    assert len(ASSERTIONS) == len(set(ASSERTIONS)) == 226


@pytest.mark.parametrize("assertion", [*ASSERTIONS, *(identity for rule in OURS for identity in rule.ids)])
def test_assertion(sparkplug_suite: Suite, assertion: str) -> None:
    BY_ID[assertion].check(sparkplug_suite)


@pytest.mark.parametrize(("rule", "spoil"), SPOILED)
def test_check_objects(sparkplug_suite: Suite, rule: Rule, spoil: Spoil) -> None:
    spoiled = spoil(sparkplug_suite)
    with pytest.raises(AssertionError):
        rule.check(spoiled)
