"""What is asked over the network: JSON and Prometheus, servers that misbehave, and secrets."""

from __future__ import annotations

import asyncio
import gzip
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from heliostat.budget.providers import FaultKind, ProviderError, Reading, base, open_provider
from heliostat.model.budget import ProviderSource
from tests.probe.helpers import Handler, serving

NOW = datetime(2026, 11, 23, 10, 20, 30, tzinfo=UTC)
RESET = datetime(2026, 11, 1, tzinfo=UTC)
SECRET = "a-token-that-nobody-may-see"


async def ask(source: ProviderSource) -> Reading:
    return await open_provider(source, "cdn.example.org").usage(RESET, NOW)


async def fault(source: ProviderSource) -> ProviderError:
    with pytest.raises(ProviderError) as raised:
        await ask(source)
    assert "cdn.example.org" in str(raised.value)
    assert SECRET not in str(raised.value)
    return raised.value


def document(value: Any) -> Handler:
    async def handler(request: web.Request) -> web.Response:
        return web.json_response(value)

    return handler


def vector(*values: str) -> Any:
    samples = [{"metric": {"host": f"h{n}"}, "value": [1, one]} for n, one in enumerate(values)]
    return {"status": "success", "data": {"resultType": "vector", "result": samples}}


async def test_a_json_document_gives_the_figure_its_keys_name() -> None:
    value = {"usage": {"months": [{"bytes": 5}, {"bytes": 123_456_789_012_345}]}}
    async with serving(document(value)) as url:
        reading = await ask(ProviderSource("json", url=url, query="usage.months.1.bytes"))
        assert reading.bytes == 123_456_789_012_345
        assert reading.until < NOW
        late = ProviderSource("json", url=url, query="usage.months.1.bytes", delay_s=86400)
        assert (await ask(late)).until == NOW - timedelta(days=1)


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ({"usage": {}}, FaultKind.ABSENT),
        ({"usage": []}, FaultKind.ABSENT),
        ([1, 2], FaultKind.ABSENT),
        ({"usage": {"bytes": None}}, FaultKind.MALFORMED),
        ({"usage": {"bytes": True}}, FaultKind.MALFORMED),
        ({"usage": {"bytes": [5]}}, FaultKind.MALFORMED),
        ({"usage": {"bytes": "much"}}, FaultKind.MALFORMED),
        ({"usage": {"bytes": "NaN"}}, FaultKind.MALFORMED),
        ({"usage": {"bytes": 1e30}}, FaultKind.MALFORMED),
    ],
)
async def test_a_json_document_without_the_figure_says_so(value: Any, kind: FaultKind) -> None:
    async with serving(document(value)) as url:
        found = await fault(ProviderSource("json", url=url, query="usage.bytes"))
    assert found.kind is kind


async def test_prometheus_is_asked_for_the_period_so_far() -> None:
    asked = []

    async def handler(request: web.Request) -> web.Response:
        asked.append((request.path, dict(request.query)))
        return web.json_response(vector("1.5e12"))

    async with serving(handler) as url:
        query = "sum(increase(sent_bytes_total[{since}]))"
        reading = await ask(ProviderSource("prometheus", url=url, query=query))
    assert reading.bytes == 1_500_000_000_000
    seconds = int((NOW - RESET).total_seconds())
    assert asked == [
        (
            "/api/v1/query",
            {
                "query": f"sum(increase(sent_bytes_total[{seconds}s]))",
                "time": f"{NOW.timestamp():.0f}",
            },
        )
    ]


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (vector(), FaultKind.ABSENT),
        (vector("1", "2"), FaultKind.MALFORMED),
        (vector("NaN"), FaultKind.MALFORMED),
        (vector("+Inf"), FaultKind.MALFORMED),
        ({"data": {"resultType": "matrix", "result": []}}, FaultKind.MALFORMED),
        ({"data": {"resultType": "vector", "result": [None]}}, FaultKind.MALFORMED),
        ({"data": {"resultType": "scalar", "result": [1]}}, FaultKind.MALFORMED),
        ({"data": []}, FaultKind.MALFORMED),
        ([], FaultKind.MALFORMED),
    ],
)
async def test_prometheus_without_one_figure_says_so(value: Any, kind: FaultKind) -> None:
    async with serving(document(value)) as url:
        found = await fault(ProviderSource("prometheus", url=url, query="x"))
    assert found.kind is kind


async def test_prometheus_may_answer_a_scalar() -> None:
    value = {"data": {"resultType": "scalar", "result": [1, "77"]}}
    async with serving(document(value)) as url:
        assert (await ask(ProviderSource("prometheus", url=url, query="77"))).bytes == 77


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, FaultKind.REFUSED),
        (403, FaultKind.REFUSED),
        (429, FaultKind.THROTTLED),
        (404, FaultKind.ABSENT),
        (302, FaultKind.UNREACHABLE),
        (500, FaultKind.UNREACHABLE),
    ],
)
async def test_a_status_that_is_no_answer_has_its_kind(status: int, kind: FaultKind) -> None:
    async def handler(request: web.Request) -> web.Response:
        return web.json_response({"bytes": 5}, status=status, headers={"Location": "/elsewhere"})

    async with serving(handler) as url:
        found = await fault(ProviderSource("json", url=url, query="bytes"))
    assert found.kind is kind


@pytest.mark.parametrize("body", [b"", b"<html>", b'{"bytes": NaN}', b"[" * 200_000, b"\xff\xfe"])
async def test_what_is_no_json_is_malformed(body: bytes) -> None:
    async def handler(request: web.Request) -> web.Response:
        return web.Response(body=body)

    async with serving(handler) as url:
        found = await fault(ProviderSource("json", url=url, query="bytes"))
    assert found.kind is FaultKind.MALFORMED


async def test_a_body_without_end_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "MAX_ANSWER_BYTES", 1_000_000)
    sent = 0

    async def handler(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        answer = web.StreamResponse()
        await answer.prepare(request)
        for _ in range(10_000):
            await answer.write(b" " * 65_536)
            sent += 65_536
        return answer

    async with serving(handler) as url:
        found = await fault(ProviderSource("json", url=url, query="bytes"))
    assert found.kind is FaultKind.MALFORMED
    assert sent < 100_000_000


async def test_a_packed_body_without_end_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "MAX_ANSWER_BYTES", 1_000_000)
    packed = gzip.compress(b" " * 50_000_000)

    async def handler(request: web.Request) -> web.Response:
        return web.Response(body=packed, headers={"Content-Encoding": "gzip"})

    async with serving(handler) as url:
        found = await fault(ProviderSource("json", url=url, query="bytes"))
    assert found.kind is FaultKind.MALFORMED


async def test_a_server_that_hangs_or_is_gone_is_unreachable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(base, "TIMEOUT_S", 0.3)
    release = asyncio.Event()

    async def handler(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        await answer.write(b"{")
        await release.wait()
        return answer

    async with serving(handler) as url:
        source = ProviderSource("json", url=url, query="bytes")
        found = await fault(source)
        assert found.kind is FaultKind.UNREACHABLE
        assert "0.3 s" in str(found)
        release.set()
    assert (await fault(source)).kind is FaultKind.UNREACHABLE


async def test_a_token_goes_along_and_is_read_anew_each_time(tmp_path: Path) -> None:
    seen = []

    async def handler(request: web.Request) -> web.Response:
        seen.append(request.headers.get("Authorization"))
        return web.json_response({"bytes": 5})

    path = tmp_path / "token"
    path.touch(0o600)
    async with serving(handler) as url:
        for token in ("first", "second"):
            path.write_text(f"{token}\n")
            await ask(ProviderSource("json", url=url, query="bytes", token_file=str(path)))
    assert seen == ["Bearer first", "Bearer second"]


@pytest.mark.parametrize(
    ("content", "mode", "said"),
    [
        (SECRET, 0o644, "chmod 600"),
        (SECRET, 0o602, "chmod 600"),
        ("", 0o600, "there is none"),
        (f"{SECRET}\r\nX-Header: y", 0o600, "there is none"),
        (SECRET + "é", 0o600, "there is none"),
        (SECRET * 1000, 0o600, "there is none"),
        (None, 0o600, "can't be read"),
    ],
)
async def test_a_token_that_is_no_secret_or_no_token_is_not_sent(
    tmp_path: Path, content: str | None, mode: int, said: str
) -> None:
    seen = []

    async def handler(request: web.Request) -> web.Response:
        seen.append(request.headers.get("Authorization"))
        return web.json_response({"bytes": 5})

    path = tmp_path / "token"
    if content is not None:
        path.write_text(content)
        path.chmod(mode)
    async with serving(handler) as url:
        source = ProviderSource("json", url=url, query="bytes", token_file=str(path))
        found = await fault(source)
    assert (found.kind, seen) == (FaultKind.TOKEN, [])
    assert said in str(found)


@pytest.mark.parametrize(
    "host", ["127.evil.example", "localhost.example", "192.0.2.1", "[2001:db8::1]"]
)
async def test_a_token_is_sent_over_https_or_to_this_machine(tmp_path: Path, host: str) -> None:
    path = tmp_path / "token"
    path.write_text(SECRET)
    path.chmod(0o600)
    source = ProviderSource("json", url=f"http://{host}/x", query="bytes", token_file=str(path))
    found = await fault(source)
    assert found.kind is FaultKind.TOKEN
    assert "https" in str(found)


async def test_what_is_secret_in_a_url_is_not_in_errors() -> None:
    async with serving(document({})) as url:
        with_secrets = url.replace("http://", f"http://user:{SECRET}@") + f"x?key={SECRET}"
        found = await fault(ProviderSource("json", url=with_secrets, query="bytes"))
    assert found.kind is FaultKind.ABSENT


async def test_a_redirect_never_takes_the_token_along(tmp_path: Path) -> None:
    elsewhere = []

    async def other(request: web.Request) -> web.Response:
        elsewhere.append(request.headers.get("Authorization"))
        return web.json_response({"bytes": 5})

    path = tmp_path / "token"
    path.write_text(SECRET)
    path.chmod(0o600)
    async with serving(other) as target:

        async def handler(request: web.Request) -> web.Response:
            raise web.HTTPFound(target)

        async with serving(handler) as url:
            source = ProviderSource("json", url=url, query="bytes", token_file=str(path))
            found = await fault(source)
    assert (found.kind, elsewhere) == (FaultKind.UNREACHABLE, [])


def test_figures_by_hand_have_nobody_to_ask() -> None:
    with pytest.raises(ProviderError, match="by hand"):
        open_provider(ProviderSource("manual"), "cdn.example.org")
