"""The spool against a plain model: whatever happens, delivered and reported lost make up what was appended."""

from __future__ import annotations

import asyncio
import json
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from gateway.block import Block, BlockId
from gateway.spool import Spool
from gateway.spool.delivery import UpstreamDelivery
from tests.fakes.spool import HandClock, crash, drain, make, readings, take

UPSTREAMS = ("plant", "cloud")
WINDOW = 6
MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108  # each commit waits for its disk


@dataclass
class Receiver:
    outstanding: list[Block] = field(default_factory=list)
    accepted: set[float] = field(default_factory=set)
    unsaved: set[float] = field(default_factory=set)  # accepted since the disk was last told
    maybe: set[float] = field(default_factory=set)  # of those, what a crash may have brought back
    told: set[tuple[str, int]] = field(default_factory=set)  # loss events by boot and seq
    lost: int = 0
    unsaved_lost: int = 0  # told since the disk was last told of an acknowledgement
    maybe_lost: int = 0  # of those, what a crash may have told again in another event
    done: set[BlockId] = field(default_factory=set)  # acknowledged in this process

    def accept(self, block: Block) -> None:
        values = set(block.readings.value.tolist())
        self.accepted |= values
        self.unsaved |= values
        for event in map(json.loads, block.events):
            if (
                event["event"] == "loss"
                and event["reason"] != "power"
                and (event["boot"], event["seq"]) not in self.told
            ):
                self.told.add((event["boot"], event["seq"]))
                self.lost += event["count"]
                self.unsaved_lost += event["count"]


class SpoolModel(RuleBasedStateMachine):
    @initialize(
        policy=st.sampled_from(["drop-oldest", "drop-newest", "thin"]),
        order=st.sampled_from(["oldest-first", "live-first"]),
        small=st.booleans(),
    )
    def open(self, policy: str, order: str, small: bool) -> None:
        self.runner = asyncio.Runner()
        self.folder = Path(tempfile.mkdtemp(prefix="spool-model-", dir=MEMORY))
        self.more: dict[str, Any] = {"when_full": policy, "drain": order, "max_size": "128KiB" if small else "192KiB"}
        self.order = order
        self.clock = HandClock()
        self.next_value = 0.0
        self.appended: set[float] = set()
        self.volatile: set[float] = set()
        self.vanished: set[float] = set()
        self.receivers = {name: Receiver() for name in UPSTREAMS}
        self.crashes = 0
        self.start()

    def start(self) -> None:
        """Open the spool, as a daemon that starts does."""

        async def work() -> Spool:
            spool = make(self.folder / "spool.db", UPSTREAMS, self.clock.clock, **self.more)
            await spool.__aenter__()
            return spool

        self.spool = self.runner.run(work())

    def delivery(self, name: str) -> UpstreamDelivery:
        return self.spool.delivery(name)

    @rule(rows=st.sampled_from([1, 9, 300, 3000]), noisy=st.sampled_from([True, True, False]))
    def append(self, rows: int, *, noisy: bool) -> None:
        values = self.next_value + np.arange(rows)
        if noisy:
            values += np.random.default_rng(int(self.next_value)).random(rows)
        self.next_value += rows
        self.clock.pass_time(0.1)
        block = readings(values.tolist(), self.clock.wall_ns // 1000 * 1000)

        async def work() -> None:
            self.spool.append(block)

        self.runner.run(work())
        self.appended |= set(values.tolist())
        self.volatile |= set(values.tolist())

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
        block = self.runner.run(take(delivery))
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
        receiver.accept(block)
        receiver.done.add(block.id)

    @rule(name=st.sampled_from(UPSTREAMS))
    def rewind(self, name: str) -> None:
        async def work() -> None:
            self.delivery(name).rewind()

        self.runner.run(work())
        self.receivers[name].outstanding.clear()

    @rule()
    def restart(self) -> None:
        async def work() -> None:
            await self.spool.__aexit__(None, None, None)

        self.runner.run(work())
        self.saved()
        self.forget_epochs()
        self.start()

    @rule()
    def crash(self) -> None:
        self.runner.run(crash(self.spool))
        self.vanished |= self.volatile
        self.volatile.clear()
        for receiver in self.receivers.values():
            receiver.maybe |= receiver.unsaved
            receiver.unsaved.clear()
            receiver.maybe_lost += receiver.unsaved_lost
            receiver.unsaved_lost = 0
        self.crashes += 1
        self.forget_epochs()
        self.start()

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
            shutil.rmtree(self.folder)

    async def settle(self) -> None:
        await self.spool.commit()
        for _ in range(4):  # with drop-newest losses are told once the drained blocks made room
            for name, receiver in self.receivers.items():
                self.delivery(name).rewind()
                for block in await drain(self.delivery(name), self.spool):
                    receiver.accept(block)
            await self.spool.commit()
        for name, receiver in self.receivers.items():
            delivery = self.delivery(name)
            assert receiver.accepted <= self.appended, "something that never was"
            missing = self.appended - receiver.accepted - self.vanished
            most = len(missing) + len(receiver.maybe | self.vanished) + receiver.maybe_lost
            assert len(missing) <= receiver.lost <= most, (name, len(missing), receiver.lost, most)
            if not self.crashes:
                assert receiver.lost == len(missing)
            assert delivery.backlog == 0
        assert self.spool._keeper.usage.blocks == 0
        assert len(self.spool._stock.front) == 0
        await self.spool.__aexit__(None, None, None)


SpoolModel.TestCase.settings = settings(
    deadline=None, max_examples=50, stateful_step_count=40, suppress_health_check=list(HealthCheck)
)
TestSpoolModel = SpoolModel.TestCase
