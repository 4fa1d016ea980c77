"""Reports of edges: who may, in which form, what is stored, and when a manager doubts itself."""

from __future__ import annotations

import asyncio
import io
import json
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import Any

import pytest
from aiohttp import ClientSession
from aiohttp.test_utils import TestClient, TestServer
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from heliostat.config.load import LoadedConfig
from heliostat.manager.probing import models as rows
from heliostat.manager.probing.view import view_of
from heliostat.manager.registry.mirrors import events
from heliostat.manager.reports.form import MAX_REPORT_BYTES, WatchReport
from heliostat.manager.reports.server import PATH, report_app, serve_reports, token_sha256
from heliostat.manager.reports.store import record_report
from heliostat.manager.reports.views import fresh_views
from heliostat.manager.setup import in_database
from tests.manager.samples import WHEN, declare, register

TOKENS = {name: token_sha256(f"secret-of-{name}") for name in ("fra", "nyc")}


def report(*down: tuple[str, str, int], node: str = "fra", **more: Any) -> dict[str, Any]:
    return {
        "node": node,
        "lines": {"a.example": 2, "b.example": 1},
        "down": [{"mirror": m, "scheme": s, "family": f} for m, s, f in down],
        "reasons": {m: "no answer" for m, _, _ in down},
        **more,
    }


async def posted(
    body: bytes | Mapping[str, Any], token: str = "secret-of-fra", path: str = PATH
) -> tuple[int, str]:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    async with TestClient(TestServer(report_app(TOKENS))) as client:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        answer = await client.post(path, data=io.BytesIO(raw), headers=headers)
        return answer.status, await answer.text()


@pytest.fixture
def two_mirrors(loaded: LoadedConfig) -> None:
    register(declare("a.example"), declare("b.example"))


@pytest.mark.usefixtures("two_mirrors")
async def test_a_report_is_stored_shown_and_told_once() -> None:
    down = ("a.example", "https", 4)
    assert (await posted(report(down, ("gone.example", "http", 4))))[0] == 204
    assert (await posted(report(down)))[0] == 204
    view = await in_database(view_of, "a.example")
    (seen,) = view.seen_from
    assert (seen.vantage, seen.down, seen.lines) == ("fra", (("https", 4),), 2)
    assert seen.is_fresh
    assert view.to_json()["seen_from"][0]["down"] == ["https/IPv4"]
    told = [e for e in await in_database(events, "a.example") if e.kind == "view"]
    assert [(e.before, e.after) for e in told] == [("answers", "down")]
    assert told[0].reason == "from fra: https over IPv4 down (no answer)"
    await posted(report())
    told = [e for e in await in_database(events, "a.example") if e.kind == "view"]
    assert (told[0].before, told[0].after) == ("down", "answers")
    assert not [e for e in await in_database(events, "b.example") if e.kind == "view"]


@pytest.mark.usefixtures("two_mirrors")
async def test_only_a_node_with_its_own_token_is_heard() -> None:
    assert await posted(report(), "") == (401, "No node has this token.\n")
    assert await posted(report(), "secret-of-nobody") == (401, "No node has this token.\n")
    assert await posted(report(), "secret-of-nyc") == (403, "This token is another node's.\n")
    assert not await in_database(rows.Vantage.objects.count)


@pytest.mark.usefixtures("two_mirrors")
async def test_bad_reports_are_told_what_is_wrong() -> None:
    status, text = await posted(b"not json")
    assert status == 400
    assert "JSON" in text
    status, text = await posted(report(("a.example", "gopher", 4)))
    assert (status, text.partition(":")[0]) == (400, "down.0.scheme")
    assert (await posted(b"[" * MAX_REPORT_BYTES + b"["))[0] == 413
    assert (await posted(report(), path="/other"))[0] == 404


@pytest.mark.usefixtures("two_mirrors")
def test_a_node_that_suspects_itself_says_nothing_of_mirrors() -> None:
    down = ("a.example", "https", 4)
    record_report(WatchReport.model_validate(report(down, suspects_itself=True)), WHEN)
    assert not rows.VantageView.objects.exists()
    assert rows.Vantage.objects.get().suspects_itself


@pytest.mark.usefixtures("two_mirrors")
def test_only_what_was_said_lately_by_who_trusts_itself_counts() -> None:
    both = [("a.example", "https", 4), ("a.example", "http", 4), ("b.example", "https", 4)]
    record_report(WatchReport.model_validate(report(*both)), WHEN)
    one = report(("a.example", "https", 4), node="nyc")
    record_report(WatchReport.model_validate(one), WHEN)
    assert fresh_views(WHEN + timedelta(seconds=9)) == {
        "fra": {"a.example": False, "b.example": False},
        "nyc": {"a.example": True, "b.example": True},
    }
    record_report(WatchReport.model_validate({"node": "nyc", "suspects_itself": True}), WHEN)
    assert list(fresh_views(WHEN)) == ["fra"]
    assert fresh_views(WHEN + timedelta(minutes=6)) == {}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=20,
)


ODD = [
    (b"junk", {"Content-Encoding": "gzip"}),
    (b"junk", {"Content-Encoding": "deflate"}),
    (b"{}", {"Content-Type": "text/html; charset=\xff"}),
    (b"[" * 100_000, {}),
    (b'{"node": "fra", "detail": ["\\ud800"]}', {}),
    (b'{"node": "fra", "lines": {"\xff": 1}}', {}),
]


STRANGERS = ["", "Bearer", "Basic secret-of-fra", "secret-of-fra", "Bearer \xff"]
STRANGERS += [
    "Bearer secret-of-fr",
    "Bearer secret-of-fraa",
    "Bearer SECRET-OF-FRA",
    "Bearer " * 700,
]


@asynccontextmanager
async def served() -> AsyncIterator[str]:
    """Where reports are taken as `heliostat manager` takes them."""
    sock = socket.create_server(("127.0.0.1", 0))
    serving = asyncio.create_task(serve_reports(sock, TOKENS))
    try:
        yield f"http://127.0.0.1:{sock.getsockname()[1]}{PATH}"
    finally:
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)


@pytest.mark.usefixtures("two_mirrors")
async def test_nothing_that_is_sent_is_a_fault_of_ours() -> None:
    async with served() as url, ClientSession() as client:
        for body, headers in ODD:
            wanted = {"Authorization": "Bearer secret-of-fra", **headers}
            answer = await client.post(url, data=body, headers=wanted)
            text = await answer.text()
            assert (answer.status, text.count("\n")) == (400, 1), (body[:40], headers, text)
        for given in STRANGERS:
            answer = await client.post(url, data=b"{}", headers={"Authorization": given})
            assert answer.status == 401, given[:40]


@pytest.mark.usefixtures("two_mirrors")
async def test_bytes_that_are_no_text_are_nobody_s_token() -> None:
    async with served() as url:
        host, port = url.split("/")[2].split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        head = b"POST %b HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer \xff\xfe\r\n"
        writer.write(head % PATH.encode() + b"Content-Length: 2\r\n\r\n{}")
        assert b" 401 " in await asyncio.wait_for(reader.readline(), 10)
        writer.close()
        await writer.wait_closed()


@pytest.mark.usefixtures("two_mirrors")
async def test_names_that_no_mirror_has_are_passed_over_however_many() -> None:
    down = [("a.example", "https", 4), ("nul\0", "https", 4)]
    down += [(f"unknown{number}", "http", 6) for number in range(40_000)]  # of 4 MiB at most
    assert (await posted(report(*down, reasons={})))[0] == 204
    assert await in_database(rows.VantageView.objects.count) == 2


@given(st.binary(max_size=200) | json_values.map(lambda value: json.dumps(value).encode()))
@settings(max_examples=200)
def test_whatever_comes_is_a_report_or_refused(raw: bytes) -> None:
    with suppress(ValidationError):  # and nothing else, which would be a 500
        assert WatchReport.model_validate_json(raw).node
