"""Liveness: alive, dead, and answering but lying."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import pytest
import structlog.testing
from aiohttp import web

from heliostat.model.mirror import Scheme
from heliostat.probe.liveness import (
    LivenessTarget,
    check_liveness,
    newest_samples,
    still_right,
)
from heliostat.probe.results import FaultKind, LivenessResult, Sample
from tests.probe.helpers import (
    MTIME_S,
    SETTINGS,
    Handler,
    file_answer,
    liveness,
    mirror,
    serving,
    table,
)

A, B = Sample(b"a.iso", 5), Sample(b"b.iso", 7)


def holding(sizes: Mapping[str, int], folder_status: int = 200) -> Handler:
    """A good server of files with these sizes."""

    async def handler(request: web.Request) -> web.Response:
        if request.path == "/":
            return web.Response(status=folder_status)
        size = sizes.get(request.path.strip("/"))
        if size is None:
            raise web.HTTPNotFound
        return file_answer(request, b"x" * size)

    return handler


async def test_a_mirror_that_has_what_its_scan_saw_is_alive() -> None:
    async with serving(holding({"a.iso": 5, "b.iso": 7})) as base:
        result = await liveness(base, held=[A, B])
    assert result.alive
    assert result.endpoints[0].reason == ""
    assert (result.has_ipv4, result.has_ipv6) == (True, False)
    assert result.checked_at_s == MTIME_S


async def test_one_lost_file_is_looked_at_again_with_another() -> None:
    async with serving(holding({"a.iso": 5})) as base:
        assert (await liveness(base, held=[A, B])).alive
        both_lost = await liveness(base, held=[B, Sample(b"c.iso", 1)])
    assert not both_lost.alive
    assert both_lost.faults[0].kind is FaultKind.STATUS
    assert "answers 404" in both_lost.endpoints[0].reason


async def test_files_of_other_sizes_are_told_apart() -> None:
    async with serving(holding({"a.iso": 6})) as base:
        result = await liveness(base, held=[A])
    assert result.faults[0].kind is FaultKind.SIZE
    assert result.endpoints[0].reason == f"{base}a.iso: is 6 bytes, the catalog says 5"


async def test_a_soft_404_is_told_apart() -> None:
    async def everything(request: web.Request) -> web.Response:
        return web.Response(text="hello", content_type="text/html")

    async with serving(everything) as base:
        result = await liveness(base, held=[A])
    assert result.faults[0].kind is FaultKind.SOFT_404
    assert (
        result.endpoints[0].reason == f"{base}: answers 200 for a file that can't exist (soft 404)"
    )


async def test_a_redirect_of_missing_files_to_a_page_is_a_soft_404_too() -> None:
    async def home(request: web.Request) -> web.Response:
        if request.path in ("/", "/a.iso"):
            return web.Response(text="hello")
        raise web.HTTPFound("/")

    async with serving(home) as base:
        assert (await liveness(base, held=[A])).faults[0].kind is FaultKind.SOFT_404


async def test_one_hiccup_is_forgiven() -> None:
    seen: Counter[str] = Counter()
    good = holding({"a.iso": 5})

    async def handler(request: web.Request) -> web.StreamResponse:
        seen[request.path] += 1
        if seen.total() == 1:
            raise web.HTTPServiceUnavailable
        return await good(request)

    async with serving(handler) as base:
        assert (await liveness(base, held=[A])).alive
    assert seen["/a.iso"] == 2


@pytest.mark.parametrize(
    ("sizes", "folder", "alive"),
    [
        ({"a.iso": 5}, 404, True),
        ({}, 200, True),
        ({}, 403, True),
        ({}, 404, False),
        ({}, 503, False),
    ],
)
async def test_of_an_unknown_mirror_the_newest_file_or_the_folder_must_answer(
    sizes: dict[str, int], folder: int, alive: bool
) -> None:
    async with serving(holding(sizes, folder)) as base:
        assert (await liveness(base, newest=[A])).alive is alive


async def test_each_endpoint_is_judged_by_itself() -> None:
    async with serving(holding({"a.iso": 5})) as base:
        dead = "https://127.0.0.1:9/"
        result = await liveness(base, dead, "rsync://127.0.0.1/m/", held=[A])
    assert result.alive
    assert {s.endpoint.scheme: s.alive for s in result.endpoints} == {
        Scheme.HTTP: True,
        Scheme.HTTPS: False,
    }


async def test_ipv6_endpoints_are_seen_as_such() -> None:
    async with serving(holding({"a.iso": 5}), host="::1") as base:
        result = await liveness(base, held=[A])
    assert result.alive
    assert (result.has_ipv4, result.has_ipv6) == (False, True)


async def test_many_mirrors_are_looked_at_and_bad_ones_end_nothing() -> None:
    import random

    results: list[LivenessResult] = []

    async def keep(result: LivenessResult) -> None:
        results.append(result)

    async with serving(holding({"a.iso": 5})) as base:
        urls = [base, "http://127.0.0.1:9/", "http://nowhere.invalid/", base] * 5
        targets = [LivenessTarget(mirror(url), {"isos": [A]}) for url in urls]
        settings = SETTINGS.model_copy(update={"mirrors_at_once": 3})
        await check_liveness(targets, settings, keep, clock=lambda: MTIME_S, rng=random.Random(1))
    assert Counter(result.alive for result in results) == {True: 10, False: 10}


def test_the_newest_files_of_a_catalog_come_first() -> None:
    catalog = table({b"a": 1, b"b": 2, b"c": 3}, mtimes={b"b": MTIME_S + 9, b"a": MTIME_S + 5})
    assert newest_samples(catalog) == (Sample(b"b", 2, "one", 3), Sample(b"a", 1, "one", 3))
    assert newest_samples(table({})) == ()


def test_samples_that_the_catalog_changed_are_not_asked_for() -> None:
    catalog = table({b"a.iso": 5, b"b.iso": 8})
    right = Sample(b"a.iso", 5, "one", 3)
    assert still_right([right, Sample(b"b.iso", 7, "one", 3)], catalog) == (right,)
    assert still_right([Sample(b"gone", 1, "one", 3)], catalog) == ()
    assert still_right([Sample(b"a.iso", 5, "another", 3)], catalog) == ()
    assert still_right([Sample(b"a.iso", 5, "one", 0)], catalog) == ()


@pytest.mark.parametrize("url", ["http://ftp..example.org/x/", "http://[::1/x/"])
async def test_a_url_that_nobody_can_use_is_a_fault(url: str) -> None:
    result = await liveness(url)
    assert not result.alive
    assert result.endpoints[0].reason


async def test_what_nobody_foresaw_at_one_endpoint_leaves_the_others_as_they_are() -> None:
    async def lookup(host: str, port: int) -> list[str]:
        if host == "broken.example":
            raise LookupError("no such luck")
        return ["127.0.0.1"]

    async with serving(holding({"a.iso": 5})) as base:
        good = base.replace("127.0.0.1", "good.example")
        with structlog.testing.capture_logs() as lines:
            result = await liveness("http://broken.example/", good, held=[A], lookup=lookup)
    assert [status.alive for status in result.endpoints] == [False, True]
    assert result.faults[0].kind is FaultKind.UNEXPECTED
    assert [line["where"] for line in lines] == ["http://broken.example/"]
