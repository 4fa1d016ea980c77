"""Catalogs, mirrors and misbehaving servers for the probes' tests."""

from __future__ import annotations

import random
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
from aiohttp import web

from heliostat.config.schema import ProbeSection
from heliostat.model.catalog import CatalogTable
from heliostat.model.mirror import Endpoint, Mirror, Scheme
from heliostat.model.tree import Tree
from heliostat.probe.liveness import LivenessTarget, check_mirror
from heliostat.probe.results import LivenessResult, Sample, ScanResult
from heliostat.probe.scan import ScanTarget, scan_mirror

MTIME_S = 1_700_000_000
SETTINGS = ProbeSection(allow_private=True, timeout_s=2, scan_timeout_s=20)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def table(
    files: Mapping[bytes, int],
    *,
    aliases: Mapping[bytes, bytes] | None = None,
    mtimes: Mapping[bytes, int] | None = None,
) -> CatalogTable:
    """A catalog of path → size; ids are 100, 101 … in the order of the paths."""
    paths = sorted(files)
    ids = {path: 100 + row for row, path in enumerate(paths)}
    return CatalogTable(
        tree="isos",
        identity="one",
        version=3,
        scanned_at_s=MTIME_S,
        paths=paths,
        file_ids=np.array([ids[path] for path in paths], np.uint32),
        sizes_bytes=np.array([files[path] for path in paths], np.uint64),
        mtimes_s=np.array([(mtimes or {}).get(path, MTIME_S) for path in paths], np.int64),
        sha256=np.zeros((len(paths), 32), np.uint8),
        has_sha256=np.zeros(len(paths), np.bool_),
        alias_of=np.array(
            [ids[(aliases or {})[path]] if path in (aliases or {}) else 0 for path in paths],
            np.uint32,
        ),
        changed_in=np.ones(len(paths), np.uint32),
        changed_at_s=np.array([(mtimes or {}).get(path, MTIME_S) for path in paths], np.int64),
    )


def held_paths(catalog: CatalogTable, ids: Any) -> set[bytes]:
    return {file.path for file in catalog.files() if file.file_id in ids}


def mirror(*urls: str) -> Mirror:
    endpoints = tuple(Endpoint("isos", Scheme(url.partition(":")[0]), url) for url in urls)
    return Mirror(name="m.example", endpoints=endpoints)


async def liveness(
    *urls: str,
    held: Sequence[Sample] = (),
    newest: Sequence[Sample] = (),
    settings: ProbeSection = SETTINGS,
    **extra: Any,
) -> LivenessResult:
    target = LivenessTarget(mirror(*urls), {"isos": held}, {"isos": newest})
    return await check_mirror(
        target, settings, clock=lambda: MTIME_S, rng=random.Random(1), **extra
    )


async def scan(
    catalog: CatalogTable,
    *urls: str,
    match_times: bool = False,
    settings: ProbeSection = SETTINGS,
    **extra: Any,
) -> ScanResult:
    tree = Tree("isos", "/nowhere", match_times=match_times)
    return await scan_mirror(
        ScanTarget(mirror(*urls), tree, catalog),
        settings,
        clock=lambda: MTIME_S,
        rng=random.Random(1),
        **extra,
    )


def file_answer(request: web.Request, body: bytes) -> web.Response:
    """A file as good servers give it: whole, or the one range that is asked for."""
    asked = re.fullmatch(r"bytes=(\d+)-(\d+)", request.headers.get("Range", ""))
    if asked is None:
        return web.Response(body=body, headers={"Accept-Ranges": "bytes"})
    first, last = int(asked[1]), min(int(asked[2]), len(body) - 1)
    headers = {"Content-Range": f"bytes {first}-{last}/{len(body)}"}
    return web.Response(status=206, body=body[first : last + 1], headers=headers)


@asynccontextmanager
async def serving(
    handler: Handler, host: str = "127.0.0.1", port: int = 0, **site: Any
) -> AsyncIterator[str]:
    """A server whose every request goes to `handler`; gives its base URL."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port, **site).start()
        port = runner.addresses[0][1]
        scheme = "https" if "ssl_context" in site else "http"
        yield f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}/"
    finally:
        await runner.cleanup()
