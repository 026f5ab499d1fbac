"""The spool against a plain model: whatever happens, delivered and reported lost make up what was appended.

What happens: outages of each upstream, acknowledgements with gaps, a spool that is full or whose blocks are too old, a
disk that fails or is full and comes back, restarts and crashes, a table that changes, an upstream that leaves and comes
back, one that gets only some tags. Each reading has a value of its own; some are texts.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from numpy.typing import NDArray

from gateway.readings import NO_TEXTS, Tag, text_hash
from gateway.spool import Spool
from gateway.spool.delivery import UpstreamDelivery
from tests.fakes.receiver import Receiver
from tests.fakes.spool import TABLE, Faults, HandClock, crash, drain, make, offered, readings

UPSTREAMS = ("plant", "cloud")
WINDOW = 6
MAX_AGE_S = 3600
CHOSEN = {"press.t1", "press.t2", "press.t3"}
MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108  # each commit waits for its disk


class SpoolModel(RuleBasedStateMachine):
    @initialize(
        policy=st.sampled_from(["drop-oldest", "drop-newest", "thin"]),
        order=st.sampled_from(["oldest-first", "live-first"]),
        small=st.booleans(),
        chosen=st.booleans(),
    )
    def open(self, policy: str, order: str, small: bool, chosen: bool) -> None:
        self.runner = asyncio.Runner()
        self.folder = Path(tempfile.mkdtemp(prefix="spool-model-", dir=MEMORY))
        self.more: dict[str, Any] = {"when_full": policy, "drain": order, "max_size": "128KiB" if small else "192KiB"}
        self.more["max_age"] = f"{MAX_AGE_S}s"
        self.faults = Faults().__enter__()
        self.table = TABLE
        self.texts: dict[float, str] = {}
        self.order = order
        self.clock = HandClock()
        self.next_value = 0.0
        self.appended: set[float] = set()
        self.volatile: set[float] = set()
        self.vanished: set[float] = set()
        self.receivers = {"plant": Receiver(), "cloud": Receiver(CHOSEN if chosen else set())}
        self.crashes = 0
        self.start()

    def start(self) -> None:
        """Open the spool, as a daemon that starts does."""

        async def work() -> Spool:
            spool = make(self.folder / "spool.db", UPSTREAMS, self.clock.clock, table=self.table, **self.more)
            self.select(spool)
            await spool.__aenter__()
            return spool

        self.spool = self.runner.run(work())

    def select(self, spool: Spool) -> None:
        for name, receiver in self.receivers.items():
            if receiver.chosen:
                spool.select(name, receiver.chosen.__contains__)

    def delivery(self, name: str) -> UpstreamDelivery:
        return self.spool.delivery(name)

    @rule(rows=st.sampled_from([1, 9, 300, 3000]), noisy=st.sampled_from([True, True, False]))
    def append(self, rows: int, *, noisy: bool) -> None:
        values = self.next_value + np.arange(rows)
        if noisy:
            values += np.random.default_rng(int(self.next_value)).random(rows)
        self.next_value += rows
        self.take_in(values)

    @rule()
    def append_texts(self) -> None:
        words = [f"batch {self.next_value + number}" for number in range(20)]
        values = np.array([float(text_hash(word)) for word in words])
        texts = {int(value): word for value, word in zip(values, words, strict=True)}
        self.next_value += 20
        self.texts |= {float(key): text for key, text in texts.items()}
        self.take_in(values, texts)

    def take_in(self, values: NDArray[np.floating[Any]], texts: Mapping[int, str] = NO_TEXTS) -> None:
        self.clock.pass_time(0.1)
        rows = replace(readings(values.tolist(), self.clock.wall_ns // 1000 * 1000), texts=texts)

        async def work() -> None:
            self.spool.append(rows)

        self.runner.run(work())
        named = [(value, self.table[int(tag)].full_name) for value, tag in zip(values.tolist(), rows.tag, strict=True)]
        self.appended |= set(values.tolist())
        self.volatile |= set(values.tolist())
        for receiver in self.receivers.values():
            receiver.wanted |= {value for value, tag in named if not receiver.chosen or tag in receiver.chosen}

    @rule(rounds=st.integers(1, 12))
    def outage(self, rounds: int) -> None:
        """Enough to fill the spool, if it goes on."""
        for _ in range(rounds):
            self.append(2500, noisy=True)
            self.commit(twice=False)

    @rule()
    def event(self) -> None:
        async def work() -> None:
            self.spool.event("write", self.clock.wall_ns, {"tag": "press.t0"})

        self.runner.run(work())

    @rule()
    def seal(self) -> None:
        async def work() -> None:
            self.spool.seal()

        self.runner.run(work())

    @rule(twice=st.booleans())
    def commit(self, *, twice: bool) -> None:
        for _ in range(1 + twice):
            self.runner.run(self.spool.commit())
        if not self.faults.now:
            self.saved()

    def saved(self) -> None:
        self.volatile.clear()
        for receiver in self.receivers.values():
            receiver.unsaved.clear()
            receiver.unsaved_lost = 0

    @rule(name=st.sampled_from(UPSTREAMS))
    def receive(self, name: str) -> None:
        receiver, delivery = self.receivers[name], self.delivery(name)
        if len(receiver.outstanding) >= WINDOW:
            return
        if delivery.backlog <= sum(len(block.readings) for block in receiver.outstanding):
            return
        block = self.runner.run(offered(delivery, self.spool))
        if block is None:
            assert self.faults.now == "io", "nothing is offered, though something waits"
            return
        assert block.id not in receiver.done, "offered again after its acknowledgement"
        assert block.id not in {other.id for other in receiver.outstanding}, "offered twice in one epoch"
        if self.order == "oldest-first" and receiver.outstanding and not block.events:
            newest = receiver.outstanding[-1].id
            assert newest.boot != block.id.boot or newest.number < block.id.number, "out of order"
        receiver.outstanding.append(block)

    @rule(name=st.sampled_from(UPSTREAMS))
    def fill_the_window(self, name: str) -> None:
        """In a small spool everything may be on its way, and what is dropped is in flight."""
        for _ in range(WINDOW):
            self.receive(name)

    @precondition(lambda self: any(receiver.outstanding for receiver in self.receivers.values()))
    @rule(data=st.data())
    def acknowledge(self, data: st.DataObject) -> None:
        """Any of the outstanding blocks: gaps are usual."""
        name = data.draw(st.sampled_from([name for name, r in self.receivers.items() if r.outstanding]))
        receiver = self.receivers[name]
        block = receiver.outstanding.pop(data.draw(st.integers(0, len(receiver.outstanding) - 1)))

        async def work() -> None:
            self.delivery(name).acknowledge(block)
            self.delivery(name).acknowledge(block)  # a second time changes nothing

        self.runner.run(work())
        receiver.accept(block, self.texts)
        receiver.done.add(block.id)

    @rule(name=st.sampled_from(UPSTREAMS))
    def rewind(self, name: str) -> None:
        async def work() -> None:
            self.delivery(name).rewind()

        self.runner.run(work())
        self.receivers[name].outstanding.clear()

    @rule(hours=st.sampled_from([0.5, 2.0]))
    def grow_old(self, hours: float) -> None:
        """What is older than `max_age` goes with the next commits."""
        self.clock.pass_time(hours * 3600)
        self.spool._writer.committer.aged = -1e9

    @rule(kind=st.sampled_from(["io", "full"]))
    def disk_fails(self, kind: str) -> None:
        self.faults.now = kind

    @rule()
    def disk_comes_back(self) -> None:
        self.faults.now = ""
        if not self.spool._keeper.ready:
            self.runner.run(self.spool._writer.reopen())

    @rule()
    def reload(self) -> None:
        """Another table: old indices keep their meaning."""
        self.table = self.table.grown([*list(self.table), Tag("meter", f"m{len(self.table)}")])

        async def work() -> None:
            self.spool.use_table(self.table)

        self.runner.run(work())

    @rule(name=st.sampled_from(UPSTREAMS))
    def leave_and_come_back(self, name: str) -> None:
        receiver = self.receivers[name]

        async def work() -> None:
            self.spool.seal()
            self.spool.forget(name)
            self.spool.delivery(name)
            self.select(self.spool)

        self.runner.run(work())
        receiver.before |= receiver.wanted
        receiver.wanted.clear()
        receiver.outstanding.clear()
        receiver.done.clear()

    @rule()
    def restart(self) -> None:
        async def work() -> None:
            await self.spool.__aexit__(None, None, None)

        self.runner.run(work())
        if self.faults.now:
            self.vanish()
        else:
            self.saved()
        self.forget_epochs()
        self.start()

    @rule()
    def crash(self) -> None:
        self.runner.run(crash(self.spool))
        self.vanish()
        self.forget_epochs()
        self.start()

    def vanish(self) -> None:
        """What no transaction held is gone, and what it knew of acknowledgements too."""
        self.vanished |= self.volatile
        self.volatile.clear()
        for receiver in self.receivers.values():
            receiver.maybe |= receiver.unsaved
            receiver.unsaved.clear()
            receiver.maybe_lost += receiver.unsaved_lost
            receiver.unsaved_lost = 0
        self.crashes += 1

    def forget_epochs(self) -> None:
        for receiver in self.receivers.values():
            receiver.outstanding.clear()
            receiver.done.clear()

    def teardown(self) -> None:
        if not hasattr(self, "spool"):
            return
        try:
            self.runner.run(self.settle())
        finally:
            self.runner.close()
            self.faults.__exit__()
            shutil.rmtree(self.folder)

    async def settle(self) -> None:
        self.faults.now = ""
        if not self.spool._keeper.ready:
            await self.spool._writer.reopen()
        await self.spool.commit()
        for _ in range(4):  # with drop-newest losses are told once the drained blocks made room
            for name, receiver in self.receivers.items():
                self.delivery(name).rewind()
                for block in await drain(self.delivery(name), self.spool):
                    receiver.accept(block, self.texts)
            await self.spool.commit()
        for name, receiver in self.receivers.items():
            assert receiver.accepted <= self.appended, "something that never was"
            missing = receiver.wanted - receiver.accepted - self.vanished
            most = len(missing) + len(receiver.maybe | receiver.before | self.vanished) + receiver.maybe_lost
            assert len(missing) <= receiver.lost <= most, (name, len(missing), receiver.lost, most)
            if not self.crashes and not receiver.before:
                assert receiver.lost == len(missing)
            assert self.delivery(name).backlog == 0
        assert self.spool._keeper.usage.blocks == 0
        assert len(self.spool._stock.front) == 0
        await self.spool.__aexit__(None, None, None)


SpoolModel.TestCase.settings = settings(
    deadline=None, max_examples=50, stateful_step_count=40, suppress_health_check=list(HealthCheck)
)
TestSpoolModel = SpoolModel.TestCase
