from __future__ import annotations

import pytest

from gateway.upstream.sparkplug.node import Node, State


def live() -> Node:
    node = Node()
    node.connecting()
    node.subscribed()
    node.born()
    return node


def test_payloads_sequence_num_req_nbirth_and_incrementing() -> None:
    node = live()
    assert [node.next_seq() for _ in range(258)] == [*range(256), 0, 1]
    node.born()
    assert node.next_seq() == 0


def test_topics_nbirth_bdseq_increment_from_0_to_255_and_around() -> None:
    node = Node()
    assert node.next_bdseq == 0
    assert [node.connecting() for _ in range(257)] == [*range(256), 0]


def test_topics_nbirth_bdseq_matching_the_will() -> None:
    node = Node()
    node.recalled(b"254")
    will = node.next_bdseq
    assert node.next_bdseq == will  # an attempt without CONNECT uses none
    node.connecting()
    assert node.bdseq == will == 255


@pytest.mark.parametrize("kept", [None, b"", b"-1", b"256", b"x"])
def test_payloads_bdseq_starts_at_0_where_nothing_usable_was_kept(kept: bytes | None) -> None:
    node = Node()
    node.recalled(kept)
    assert node.next_bdseq == 0


def test_operational_behavior_rebirth_is_answered_at_once_and_a_storm_by_one_more() -> None:
    node = live()
    node.rebirth_wanted(100.0)
    assert node.rebirth_due(100.0)
    node.born()
    for at in (100.1, 101.0, 104.0):
        node.rebirth_wanted(at)
        assert not node.rebirth_due(at)
    assert node.rebirth_due(105.0)
    node.born()
    assert not node.rebirth_due(200.0)


def test_operational_behavior_rebirth_before_the_births_is_none() -> None:
    node = Node()
    node.subscribed()
    node.rebirth_wanted(1.0)
    assert not node.rebirth_due(10.0)
    assert node.state is State.WAITING
