"""The status server against its own OpenAPI description: generated requests, right and wrong ones."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import Case, GenerationMode
from schemathesis.core.result import Ok
from schemathesis.schemas import BaseSchema

from gateway.runtime.status.openapi import description
from gateway.runtime.status.server import StatusServer
from gateway.runtime.status.settings import StatusSettings
from tests.fakes.status import FakePlant

TOKEN = "a-token-of-good-length"  # noqa: S105  # a test's token
EXAMPLES = 25  # of each operation and kind: all of them together take some seconds
STREAM = "/api/v1/stream"  # has no end: its answer's head is looked at
TIMEOUT_S = 10.0
DESCRIPTION = description("1.0.0")


@pytest.fixture
def plant() -> FakePlant:
    plant = FakePlant(more=20)
    plant.move(0)
    plant.incident()
    for device in plant.counters.devices.values():
        device.up = True  # a 503 shall mean a fault, never what `strict` was asked for
    for upstream in plant.counters.upstreams.values():
        upstream.up = True
    return plant


@pytest.fixture(params=["open", "locked"])
async def server(plant: FakePlant, tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[StatusServer]:
    (tmp_path / "token").write_text(TOKEN)
    token = {"token": {"file": tmp_path / "token"}} if request.param == "locked" else {}
    async with StatusServer(StatusSettings.model_validate({"listen": "127.0.0.1:0", **token}), plant.view) as server:
        yield server


def head_of_stream(case: Case[Any], url: str) -> int:
    described = DESCRIPTION["paths"][STREAM]["get"]["responses"]
    with requests.request(**case.as_transport_kwargs(base_url=url), stream=True, timeout=TIMEOUT_S) as response:
        [kind] = described[str(response.status_code)]["content"]
        assert response.headers["Content-Type"].startswith(kind)
        return response.status_code


def fuzz(schema: BaseSchema, url: str, answers: Counter[tuple[str, int]]) -> None:
    """Every operation, with parameters as described and with others; an answer that is not as described fails."""
    for found in schema.get_all_operations():
        assert isinstance(found, Ok)
        operation = found.ok()
        takes = any(True for _ in operation.iter_parameters())  # without parameters there is nothing to get wrong
        for mode in GenerationMode if takes else [GenerationMode.POSITIVE]:

            @settings(
                max_examples=EXAMPLES,
                deadline=None,
                database=None,
                phases=[Phase.explicit, Phase.generate],
                suppress_health_check=list(HealthCheck),
            )
            @given(case=operation.as_strategy(mode))
            def one(case: Case[Any]) -> None:
                if case.path == STREAM:
                    answers[case.path, head_of_stream(case, url)] += 1
                else:
                    answers[case.path, case.call_and_validate(base_url=url, timeout=TIMEOUT_S).status_code] += 1

            one()


async def test_generated_requests_are_answered_as_described(server: StatusServer) -> None:
    assert server.address is not None
    answers: Counter[tuple[str, int]] = Counter()
    await asyncio.to_thread(fuzz, schemathesis.openapi.from_dict(DESCRIPTION), server.address.url, answers)
    locked = (STREAM, 401) in answers
    assert {path for path, _ in answers} == set(DESCRIPTION["paths"])
    for path in (STREAM, "/api/v1/tags"):  # right ones and wrong ones both came through
        assert {status for asked, status in answers if asked == path} >= ({401} if locked else {200, 400})
    assert {status for path, status in answers if path == "/healthz"} == {200, 400}
