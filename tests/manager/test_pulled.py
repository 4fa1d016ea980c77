"""A mirror's own machine tells the manager that it has pulled."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import pytest
from aiohttp.test_utils import TestClient, TestServer

from heliostat.config.load import LoadedConfig
from heliostat.manager.reports import server
from heliostat.manager.reports.server import PULLED_PATH, report_app, token_sha256
from heliostat.manager.setup import in_database
from heliostat.manager.work.models import Job
from tests.manager.samples import declare, register


@pytest.fixture(autouse=True)
def mirrors(loaded: LoadedConfig) -> None:
    token = token_sha256("secret-of-a")
    register(replace(declare("a.example"), token_sha256=token), declare("b.example"))


async def told(body: object, token: str = "secret-of-a") -> int:
    async with TestClient(TestServer(report_app({"fra": token_sha256("secret-of-fra")}))) as client:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        answer = await client.post(PULLED_PATH, data=json.dumps(body), headers=headers)
        return answer.status


def waiting() -> list[str]:
    return list(Job.objects.values_list("subject", flat=True))


async def test_it_is_scanned_now_and_once_however_often_it_tells() -> None:
    for _ in range(3):
        assert await told({"mirror": "a.example"}) == 204
    assert await in_database(waiting) == ["a.example"]


@pytest.mark.parametrize(
    ("body", "token", "status"),
    [
        ({"mirror": "b.example"}, "secret-of-a", 401),  # another's; and b has none at all
        ({"mirror": "c.example"}, "secret-of-a", 401),
        ({"mirror": "a.example"}, "secret-of-fra", 401),  # a node's token is no mirror's
        ({"mirror": "a.example"}, "", 401),
        ({"mirror": "b.example"}, "", 401),
        ({"mirror": "a.example", "more": 1}, "secret-of-a", 400),
        ({"mirror": "a" * 300}, "secret-of-a", 400),
        (["a.example"], "secret-of-a", 400),
        ({"mirror": "a" * 9000}, "secret-of-a", 413),
    ],
)
async def test_nobody_else_brings_a_scan_about(body: object, token: str, status: int) -> None:
    assert await told(body, token) == status
    assert await in_database(waiting) == []


async def test_strangers_who_guess_keep_no_mirror_from_telling(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(server, "PULLS_WAITING", 3)
    async with TestClient(TestServer(report_app({}))) as client:

        async def tell(token: str) -> int:
            headers = {"Authorization": f"Bearer {token}"}
            body = json.dumps({"mirror": "a.example"})
            return (await client.post(PULLED_PATH, data=body, headers=headers)).status

        statuses = await asyncio.gather(*(tell(f"guess-{number}") for number in range(12)))
        assert set(statuses) == {401, 503}
        assert await tell("secret-of-a") == 204
