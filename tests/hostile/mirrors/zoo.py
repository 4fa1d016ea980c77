"""The keeper of the zoo: a real tree and catalog, good mirrors beside the bad one, real probes.

What clients get is asked of a state that was compiled and opened from what the probes stored, as
an edge opens it. Time is the keeper's own: a period passes when a test says so.
"""

from __future__ import annotations

import asyncio
import random
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

from aiohttp import web

from heliostat.catalog import load_table
from heliostat.config.load import LoadedConfig
from heliostat.demo.process import free_port
from heliostat.edge.clients import locate
from heliostat.edge.serving import explain_path
from heliostat.manager.probing.records import holdings, statuses
from heliostat.manager.probing.runs import run_liveness
from heliostat.manager.probing.scans import run_scans
from heliostat.manager.probing.view import view_of
from heliostat.manager.registry.mirrors import events, list_mirrors, set_enabled
from heliostat.manager.registry.models import Event
from heliostat.manager.setup import in_database
from heliostat.manager.trees import scan_tree
from heliostat.model.catalog import CatalogTable
from heliostat.model.mirror import Endpoint, MirrorState, Scheme
from heliostat.probe.guard import Lookup, system_lookup
from heliostat.state.compile import Knowledge, compile_state
from heliostat.state.opened import State
from heliostat.state.remembered import Remembered
from heliostat.state.store import StateStore
from tests.manager.samples import declare, register
from tests.probe.helpers import file_answer, serving
from tests.support.authority import Authority
from tests.support.worlds import small_zones

BAD = "bad.example"
GOOD = ("good-1.example", "good-2.example")
LIVENESS_S = 30
SCAN_S = 1800
MOST_PERIODS = 20
"""A mirror that isn't back after as many is lost."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Zoo:
    """One tree, two good mirrors, and one that a test puts beside them."""

    def __init__(self, loaded: LoadedConfig, root: Path, good: Sequence[str]) -> None:
        self.loaded, self.root, self._good = loaded, root, good
        self.now_s = time.time()  # certificates are made by the real clock
        self.lookup: Lookup = system_lookup
        self._store = StateStore(loaded.data_dir / "published")
        self._remembered = Remembered()
        self._state: State | None = None

    async def opens_with(self, *urls: str) -> None:
        """The bad mirror is registered with these endpoints, beside the good ones."""
        await asyncio.to_thread(self.publish_files)
        await in_database(self._register, urls)

    def publish_files(self) -> None:
        """The project publishes what is in the tree."""
        scan_tree(self.loaded, self.loaded.config.trees[0].to_tree())

    async def liveness(self) -> None:
        """One period of liveness passes, and what changed is published."""
        self.now_s += LIVENESS_S
        await run_liveness(
            self.loaded,
            self._catalogs(),
            clock=lambda: self.now_s,
            rng=random.Random(self.now_s),
            lookup=self.lookup,
        )
        await self._publish()

    async def scan(self) -> None:
        """One period of scans passes, and what changed is published."""
        self.now_s += SCAN_S
        await run_scans(
            self.loaded,
            self._catalogs(),
            clock=lambda: self.now_s,
            rng=random.Random(self.now_s),
            lookup=self.lookup,
        )
        await self._publish()

    async def is_well_at_first(self) -> None:
        """The mirror is registered while all is well with it, and serves."""
        await self.liveness()
        await self.scan()
        assert await self.state() is MirrorState.GOOD, await self.reason()
        assert self.is_sent_to()

    async def comes_back(self) -> None:
        """It serves again within MOST_PERIODS, though nobody does anything."""
        for _ in range(MOST_PERIODS):
            await self.liveness()
            await self.scan()
            if self.is_sent_to():
                assert (await self.state()).serves
                return
        raise AssertionError(f"{BAD} is {await self.state()}: {await self.reason()}")

    def is_sent_to(
        self, path: str = "iso/big.iso", *, https: bool = False, ipv6: bool = False
    ) -> bool:
        """Whether any client may be sent to the bad mirror for that file."""
        assert self._state is not None
        address = "2001:db8:1::7" if ipv6 else "198.51.100.7"
        client = locate(address, self._state.zones)
        decision = explain_path(self._state, path.encode(), client, https)
        for considered in decision.considered:
            if considered.mirror == BAD:
                return considered.eligible
        raise AssertionError(f"{BAD} isn't considered at all")

    def location(self, path: str = "iso/big.iso") -> str:
        """Where a client is sent to."""
        assert self._state is not None
        client = locate("198.51.100.7", self._state.zones)
        return explain_path(self._state, path.encode(), client, False).location

    async def is_alone(self) -> None:
        """The good mirrors are disabled: who doesn't go to the bad one goes to nobody's mirror."""
        for name in GOOD:
            await in_database(set_enabled, name, False)
        await self._publish()

    async def state(self) -> MirrorState:
        return (await in_database(statuses))[BAD].state

    async def reason(self) -> str:
        view = await in_database(view_of, BAD)
        return view.status.reason

    async def events(self, kind: str = "") -> list[Event]:
        """The bad mirror's, newest first."""
        found = await in_database(events, BAD)
        return [event for event in found if kind in ("", event.kind)]

    async def was_told(self, kind: str, words: str) -> Event:
        """The newest event of that kind with these words in its reason."""
        for event in await self.events(kind):
            if words in event.reason:
                return event
        told = [f"{e.kind} {e.before} {e.after}: {e.reason}" for e in await self.events()]
        raise AssertionError(f"no {kind} event says {words!r}: {told}")

    def _register(self, urls: Sequence[str]) -> None:
        mirrors = {BAD: tuple(urls)} | {
            name: (url,) for name, url in zip(GOOD, self._good, strict=True)
        }
        register(
            *(
                declare(
                    name,
                    endpoints=tuple(
                        Endpoint("isos", Scheme(url.partition(":")[0]), url) for url in found
                    ),
                )
                for name, found in mirrors.items()
            )
        )

    def _catalogs(self) -> dict[str, CatalogTable]:
        table = load_table(self.loaded.data_dir, "isos")
        assert table is not None
        return {"isos": table}

    async def _publish(self) -> None:
        mirrors = await in_database(list_mirrors)
        known = Knowledge(
            trees=[self.loaded.config.trees[0].to_tree()],
            catalogs=self._catalogs(),
            mirrors=mirrors,
            statuses=await in_database(statuses),
            holdings={"isos": await in_database(holdings, "isos")},
            zones=small_zones(),
            networks=(),
            notices=(),
        )
        at = datetime.fromtimestamp(self.now_s, UTC)
        compile_state(known, self._store, at, remembered=self._remembered)
        self._state = self._remembered.state or self._state


@asynccontextmanager
async def with_certificate(
    zoo: Zoo, copy: Path, authority: Authority, bad: ssl.SSLContext, words: str
) -> AsyncIterator[int]:
    """The mirror serves https well, then with a certificate that clients refuse; gives its port.

    After the block it has the good one again, and must be back within some looks.
    """
    port, handler = free_port(), folder_handler(copy)
    good = authority.context("127.0.0.1")
    async with serving(handler, port=port, ssl_context=good):
        await zoo.opens_with(f"https://127.0.0.1:{port}/")
        await zoo.liveness()
        await zoo.scan()
        assert zoo.is_sent_to(https=True)
    async with serving(handler, port=port, ssl_context=bad):
        await zoo.liveness()
        assert not zoo.is_sent_to(https=True)
        assert await zoo.state() is MirrorState.FAILING
        await zoo.was_told("state", words)
    yield port
    async with serving(handler, port=port, ssl_context=good):
        for _ in range(4):
            await zoo.liveness()
        assert zoo.is_sent_to(https=True), await zoo.reason()


def folder_handler(root: Path) -> Handler:
    """A good server over a folder: files with Range, and index pages as nginx makes them."""

    async def handler(request: web.Request) -> web.StreamResponse:
        path = root / request.path.lstrip("/")
        if path.is_dir() and request.path.endswith("/"):
            return index_page(map(index_line, sorted(path.iterdir())))
        if not path.is_file():
            raise web.HTTPNotFound
        return file_answer(request, await asyncio.to_thread(path.read_bytes))

    return handler


def index_line(path: Path) -> str:
    """One entry as nginx shows it."""
    name = f"{path.name}/" if path.is_dir() else path.name
    size = "-" if path.is_dir() else str(path.stat().st_size)
    return f'<a href="{name}">{name}</a>  01-Jan-2026 00:00  {size}'


def index_page(lines: Iterable[str]) -> web.Response:
    """A page of such entries."""
    head = "<html><head><title>Index of /</title></head><body><h1>Index of /</h1><hr><pre>"
    text = "\r\n".join([head + '<a href="../">../</a>', *lines, "</pre><hr></body></html>"])
    return web.Response(text=text, content_type="text/html")
