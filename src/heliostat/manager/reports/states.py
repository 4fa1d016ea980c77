"""The manager as a source of states: `/-/state/` beside the reports, for edges and for anybody.

States are signed and public. Promises: only the repository's own files are shown, a few at a time.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

from heliostat.state.manifest import FILES_FOLDER, METADATA_FOLDER, TIMESTAMP_NAME

AT_ONCE: Final = 16
"""Files that are being sent; who asks beyond that is told to come back."""
PREFIX: Final = "/-/state"
_METADATA: Final = r"{name:(?:[0-9]{1,19}\.(?:root|snapshot|targets)|timestamp)\.json}"
_FILES: Final = r"{name:[0-9a-f]{64}\.[A-Za-z0-9_][A-Za-z0-9._-]{0,127}}"


class _Turn(web.FileResponse):
    """A file that is sent while it holds a turn."""

    turns: asyncio.Semaphore

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        async with self.turns:  # which sends it
            return await super().prepare(request)


def add_states(app: web.Application, folder: Path) -> None:
    """Offers the repository in `folder`."""
    turns = asyncio.Semaphore(AT_ONCE)

    def offer(kind: str, pattern: str) -> None:
        async def send(request: web.Request) -> web.StreamResponse:
            if turns.locked():
                raise web.HTTPServiceUnavailable(
                    text="Too many files of the state are being sent just now.\n",
                    headers={"Retry-After": "10"},
                )
            name = request.match_info["name"]
            cache = "no-cache" if name == TIMESTAMP_NAME else "public, max-age=31536000, immutable"
            response = _Turn(folder / kind / name, headers={"Cache-Control": cache})
            response.turns = turns
            return response

        app.router.add_get(f"{PREFIX}/{kind}/{pattern}", send)

    offer(METADATA_FOLDER, _METADATA)
    offer(FILES_FOLDER, _FILES)
