from __future__ import annotations

from gateway.upstream.sparkplug.links import Links

FOREVER = 1 << 62


def test_what_happens_while_nothing_is_born_does_not_pile_up() -> None:
    links = Links()
    links.all_born(["a"], 0)
    links.forget()
    for turn in range(100):
        links.changed("a", turn, online=bool(turn % 2), since_ns=turn)
    assert links.due(FOREVER, FOREVER) == []
    assert not links.is_down("a")


def test_a_state_that_is_told_twice_is_one_change() -> None:
    links = Links()
    links.all_born(["a"], 0)
    links.changed("a", 1, online=True, since_ns=1)
    links.changed("a", 2, online=False, since_ns=2)
    links.changed("a", 3, online=False, since_ns=3)
    assert [(change.online, change.since_ns) for change in links.due(FOREVER, FOREVER)] == [(False, 2)]


def test_a_change_waits_for_the_rows_before_it_but_not_for_a_clock_that_stepped_back() -> None:
    links = Links()
    links.all_born(["a"], 0)
    links.changed("a", 1000, online=False, since_ns=900)
    assert links.due(999, 1001) == []
    assert [change.device for change in links.due(10, 11)] == ["a"]
