"""A web server over a tree that a test makes up, with index pages in nginx's form."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email.utils import formatdate

from aiohttp import web

from tests.probe.helpers import MTIME_S, serving

OLD_DATE = "20-Nov-2026 10:20"
NEW_DATE = "23-Nov-2026 08:00"


@dataclass
class MadeSite:
    """`files` are path → size; `dates` folder → what its parent shows (else OLD_DATE).

    `rounded` shows every size in K, as Apache does; `bare` shows names only; `closed` folders
    answer 403; `cut` ones break off in mid-page.
    """

    files: dict[str, int]
    dates: dict[str, str] = field(default_factory=dict)
    rounded: bool = False
    bare: bool = False
    closed: set[str] = field(default_factory=set)
    cut: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)
    agents: set[str] = field(default_factory=set)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        async with serving(self._answer) as base:
            yield base

    def pages(self) -> list[str]:
        """The folders that were asked for since the last call."""
        found = [path for path in self.asked if path.endswith("/")]
        self.asked.clear()
        return sorted(found)

    def heads(self) -> list[str]:
        """The files that were asked for since the last call."""
        found = [one.removeprefix("HEAD ") for one in self.asked if one.startswith("HEAD ")]
        self.asked.clear()
        return sorted(found)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        path = request.path.lstrip("/")
        self.agents.add(request.headers["User-Agent"])
        if path in self.files:
            self.asked.append(f"{request.method} {path}")
            headers = {"Last-Modified": formatdate(MTIME_S, usegmt=True)}
            return web.Response(body=b"x" * self.files[path], headers=headers)
        if path and not path.endswith("/"):
            raise web.HTTPNotFound
        self.asked.append(f"/{path}")
        if path in self.closed:
            raise web.HTTPForbidden
        names = self._names(path)
        if path and not names:
            raise web.HTTPNotFound
        rows = "".join(self._row(path, name) for name in names)
        body = f"<html><title>Index of /{path}</title><pre>{rows}</pre></html>".encode()
        if path in self.cut:
            response = web.StreamResponse(headers={"Content-Type": "text/html"})
            response.content_length = len(body)
            await response.prepare(request)
            await response.write(body[:-20])
            assert request.transport is not None
            request.transport.abort()
            return response
        return web.Response(body=body, content_type="text/html")

    def _names(self, folder: str) -> list[str]:
        below = [path[len(folder) :] for path in self.files if path.startswith(folder)]
        return sorted({name.partition("/")[0] + "/" * ("/" in name) for name in below})

    def _row(self, folder: str, name: str) -> str:
        if self.bare:
            said = ""
        elif name.endswith("/"):
            said = f"{self.dates.get(folder + name, OLD_DATE)}   -"
        else:
            size = self.files[folder + name]
            said = f"{OLD_DATE}   {f'{round(size / 1024)}K' if self.rounded else size}"
        return f'<a href="{name}">{name}</a>      {said}\n'
