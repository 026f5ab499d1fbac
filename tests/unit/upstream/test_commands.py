"""Commands: denied by default, done in order, once, read back, answered, recorded."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from gateway.errors import WriteError
from gateway.upstream.commands import BURST, REMEMBER_NS
from tests.fakes.upstream.commanding import NOW_NS, TABLE_OF_TWO, Plant


def request(identity: str | None = "a1", expires: int | None = None, **writes: Any) -> bytes:
    body: dict[str, Any] = {"writes": [{"tag": f"press.{tag}", "value": value} for tag, value in writes.items()]}
    if identity is not None:
        body["id"] = identity
    if expires is not None:
        body["expires"] = expires
    return json.dumps(body).encode()


async def ask(plant: Plant, text: bytes) -> Any:
    return json.loads(await plant.executor.answer(text, "plant"))


async def test_a_write_is_done_read_back_and_answered() -> None:
    plant = Plant()
    assert await ask(plant, request(setpoint=900)) == {
        "id": "a1",
        "results": [{"tag": "press.setpoint", "status": "ok", "readback": 900}],
    }
    assert plant.written == [("press.setpoint", 900)]


async def test_writes_keep_their_order_and_fail_each_for_itself() -> None:
    plant = Plant()
    plant.errors["press.running"] = WriteError("timeout")
    answer = await ask(plant, request(speed=21.5, running=True, temperature=1, setpoint=2000, batch_id="B", nowhere=1))
    assert [result["status"] for result in answer["results"]] == [
        "ok",
        "timeout",
        "denied",
        "out_of_range",
        "ok",
        "unknown_tag",
    ]
    assert plant.written == [("press.speed", 21.5), ("press.batch_id", "B")]
    assert "readback" not in answer["results"][1]


async def test_another_value_read_back_is_a_mismatch() -> None:
    plant = Plant()
    plant.readbacks["press.setpoint"] = 899.0
    answer = await ask(plant, request(setpoint=900))
    assert answer["results"] == [{"tag": "press.setpoint", "status": "mismatch", "readback": 899}]


async def test_what_the_device_holds_instead_is_told(caplog: pytest.LogCaptureFixture) -> None:
    plant = Plant()
    plant.errors["press.setpoint"] = WriteError("mismatch", "setpoint: the device holds 5.0 now", readback=5.0)
    answer = await ask(plant, request(setpoint=900))
    assert answer["results"] == [{"tag": "press.setpoint", "status": "mismatch", "readback": 5}]
    assert "the device holds 5.0 now" in caplog.text


async def test_the_nearest_raw_value_is_no_mismatch() -> None:
    plant = Plant()
    plant.readbacks["press.speed"] = 21.5
    assert (await ask(plant, request(speed=21.53)))["results"][0]["status"] == "ok"


async def test_an_id_is_carried_out_once_over_restarts_too() -> None:
    plant = Plant()
    first = await ask(plant, request(setpoint=900))
    assert await ask(plant, request(setpoint=901)) == first
    plant.restarted()
    assert await ask(plant, request(setpoint=902)) == first
    assert plant.written == [("press.setpoint", 900)]
    assert plant.memory.kept["command/a1"][1] == NOW_NS + REMEMBER_NS


async def test_a_crash_in_the_middle_leads_to_no_second_execution() -> None:
    plant = Plant()
    reached, hang = asyncio.Event(), asyncio.Event()
    done = plant.write

    async def stuck(tag: int, value: Any) -> Any:
        await done(tag, value)
        reached.set()
        await hang.wait()

    plant.write = stuck  # type: ignore[method-assign]  # the device takes it and never answers
    task = asyncio.create_task(plant.restarted().answer(request(setpoint=900), "plant"))
    await reached.wait()
    task.cancel()
    await asyncio.wait([task])
    plant.write = done  # type: ignore[method-assign]
    plant.restarted()
    assert (await ask(plant, request(setpoint=900)))["results"][0]["status"] == "failed"
    assert len(plant.written) == 1
    assert [kind for kind, _ in plant.audit.records] == ["request", "interrupted", "repeated"]


async def test_expired_requests_are_not_done() -> None:
    plant = Plant()
    late, soon = NOW_NS // 10**6 - 1, NOW_NS // 10**6 + 1000
    assert (await ask(plant, request("a", expires=late, setpoint=1, nowhere=1)))["results"] == [
        {"tag": "press.setpoint", "status": "expired"},
        {"tag": "press.nowhere", "status": "expired"},
    ]
    assert plant.written == []
    assert (await ask(plant, request("b", expires=soon, setpoint=1)))["results"][0]["status"] == "ok"


async def test_without_a_right_clock_a_request_that_expires_is_expired() -> None:
    plant = Plant()
    plant.clock.stamp = type(plant.clock.stamp)("", 0, synchronised=False)
    soon = NOW_NS // 10**6 + 1000
    assert (await ask(plant, request("a", expires=soon, setpoint=1)))["results"][0]["status"] == "expired"
    assert (await ask(plant, request("b", setpoint=1)))["results"][0]["status"] == "ok"


async def test_without_an_id_nothing_is_done() -> None:
    plant = Plant()
    assert await ask(plant, request(None, setpoint=1)) == {"id": None, "results": [{"status": "bad_request"}]}
    assert plant.written == []
    assert plant.memory.kept == {}
    assert [kind for kind, _ in plant.audit.records] == ["bad_request"]


async def test_every_request_is_recorded_before_and_after() -> None:
    plant = Plant()
    await ask(plant, request(setpoint=900))
    (first, intent), (second, outcome) = plant.audit.records
    assert (first, second) == ("request", "result")
    assert intent["writes"] == [{"tag": "press.setpoint", "value": 900}]
    assert outcome["results"] == [{"tag": "press.setpoint", "status": "ok", "readback": 900}]
    assert plant.events == [
        {
            "event": "write",
            "source": "plant",
            "id": "a1",
            "tag": "press.setpoint",
            "value": 900,
            "status": "ok",
            "audit": "hash2",
        }
    ]


async def test_without_an_audit_log_nothing_is_written() -> None:
    plant = Plant()
    plant.audit.broken = True
    assert (await ask(plant, request(setpoint=900)))["results"] == [{"tag": "press.setpoint", "status": "failed"}]
    assert plant.written == []


async def test_a_tag_is_written_at_a_bounded_rate(caplog: pytest.LogCaptureFixture) -> None:
    plant = Plant()
    statuses = [
        (await ask(plant, request(str(number), setpoint=number)))["results"][0]["status"] for number in range(100)
    ]
    assert statuses[: int(BURST)] == ["ok"] * int(BURST)
    assert "denied" in statuses
    assert caplog.text.count("more than 10 a second") == 1
    assert (await ask(plant, request("other", speed=1)))["results"][0]["status"] == "ok"


async def test_a_device_that_takes_its_time_holds_up_no_other() -> None:
    plant, release = Plant(TABLE_OF_TWO), asyncio.Event()
    plain = plant.write

    async def slow(tag: int, value: float | str) -> float | str:
        if plant.table[tag].device == "press":
            await release.wait()
        return await plain(tag, value)

    plant.write = slow  # type: ignore[method-assign]  # one device answers late
    plant.restarted()
    first = asyncio.create_task(plant.executor.answer(request("a", setpoint=1), "x"))
    second = asyncio.create_task(plant.executor.answer(request("b", setpoint=2), "x"))
    repeated = asyncio.create_task(plant.executor.answer(request("a", setpoint=1), "x"))
    other = b'{"id":"c","writes":[{"tag":"oven.level","value":3}]}'
    assert json.loads(await plant.executor.answer(other, "x"))["results"][0]["status"] == "ok"
    assert plant.written == [("oven.level", 3)]
    release.set()
    answers = await asyncio.gather(first, second, repeated)
    assert answers[0] == answers[2]
    assert plant.written == [("oven.level", 3), ("press.setpoint", 1), ("press.setpoint", 2)]
    assert len(plant.executor._turns) == 0


async def test_requests_do_not_overtake_each_other() -> None:
    plant = Plant()
    answers = [plant.executor.answer(request(str(number), setpoint=number), "x") for number in range(10)]
    await asyncio.gather(*answers)
    assert [value for _, value in plant.written] == list(range(10))


async def test_a_driver_that_never_answers_is_a_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.upstream.commands.WRITE_TIMEOUT_S", 0.01)
    plant = Plant()

    async def never(tag: int, value: Any) -> Any:
        await asyncio.Event().wait()

    plant.write = never  # type: ignore[method-assign]
    plant.restarted()
    assert (await ask(plant, request(setpoint=900)))["results"][0]["status"] == "timeout"


async def test_a_request_that_is_not_looked_into_is_recorded() -> None:
    plant = Plant()
    await plant.executor.refuse([{"tag": "press.setpoint", "value": 900}], "cloud", "no commands here")
    assert plant.written == []
    assert plant.audit.records == [
        (
            "refused",
            {"source": "cloud", "error": "no commands here", "request": [{"tag": "press.setpoint", "value": 900}]},
        )
    ]
