"""What is done stays done, as long as a block is cut the same way."""

from __future__ import annotations

from gateway.block import Block
from gateway.upstream.message import Message
from gateway.upstream.progress import REMEMBERED, Progress
from tests.fakes.upstream.delivery import block, plant


def messages(*readings: int) -> list[Message]:
    return [Message(f"t{index}", b"", readings=count) for index, count in enumerate(readings)]


def one(number: int = 1) -> Block:
    return block(number, plant())


def test_a_block_is_delivered_with_its_last_message() -> None:
    progress, whole = Progress(), one()
    first, second, third = progress.start(whole, messages(1, 2, 3))
    assert whole.id in progress
    assert progress.done(second) is None
    assert progress.done(first) is None
    assert progress.done(third) is whole
    assert whole.id not in progress


def test_nothing_to_send_is_delivered_at_once() -> None:
    progress = Progress()
    assert progress.start(one(), []) == []
    assert len(progress) == 0


def test_after_an_epoch_only_the_rest_is_sent() -> None:
    progress, whole = Progress(), one()
    items = progress.start(whole, messages(1, 2, 3))
    progress.done(items[1])
    progress.end_epoch()
    assert whole.id not in progress
    rest = progress.start(whole, messages(1, 2, 3))
    assert [item.index for item in rest] == [0, 2]
    assert progress.done(rest[0]) is None
    assert progress.done(rest[1]) is whole


def test_cut_in_another_way_all_is_sent_again() -> None:
    progress, whole = Progress(), one()
    progress.done(progress.start(whole, messages(3, 3))[0])
    progress.end_epoch()
    assert len(progress.start(whole, messages(2, 4))) == 2


def test_what_nobody_keeps_comes_again_once_nothing_else_is_on_its_way() -> None:
    progress, whole = Progress(), one()
    kept, shed, parked = progress.start(whole, messages(1, 1, 1))
    progress.shed(shed)
    assert progress.done(kept) is None
    assert whole.id in progress  # the parked one is still here
    assert progress.done(parked) is None
    assert whole.id not in progress
    assert [item.index for item in progress.start(whole, messages(1, 1, 1))] == [1]


def test_items_beside_blocks_belong_to_none() -> None:
    progress = Progress()
    item = progress.single(Message("state", b""))
    assert progress.done(item) is None
    progress.shed(item)
    later = progress.single(Message("state", b""))
    assert later.order > item.order


def test_the_memory_is_bounded() -> None:
    progress = Progress()
    for number in range(REMEMBERED + 5):
        kept, shed = progress.start(one(number), messages(1, 1))
        progress.shed(shed)
        progress.done(kept)
    assert len(progress.start(one(0), messages(1, 1))) == 2
    assert len(progress.start(one(REMEMBERED), messages(1, 1))) == 1


def test_a_block_weighs_once_however_many_of_its_messages_are_kept() -> None:
    progress = Progress()
    first, second = progress.start(block(0, plant(), rows=1000), messages(500, 500))
    assert first.work is not None
    assert first.work is second.work
    assert first.work.weigh() == 1000 * (4 + 8 + 8 + 1)
    assert first.work.weigh() == 0
