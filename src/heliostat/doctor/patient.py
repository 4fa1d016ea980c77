"""The machine that is looked at: its configuration, and which parts it has by that."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import aiohttp

from heliostat.config.load import LoadedConfig
from heliostat.config.schema import Config
from heliostat.model.node import Node

ADMIN_TIMEOUT_S: Final = 3.0
MAX_STATUS_BYTES: Final = 4 << 20

Result = TypeVar("Result")


def _utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(slots=True)
class Patient:
    """One machine with a configuration that could be read."""

    loaded: LoadedConfig
    now: Callable[[], datetime] = _utc_now
    _status: asyncio.Task[dict[str, Any] | str] | None = field(default=None, repr=False)

    @property
    def config(self) -> Config:
        return self.loaded.config

    @property
    def is_manager(self) -> bool:
        """It knows trees, or takes reports."""
        return bool(self.config.trees or self.config.manager.report_listen)

    @property
    def is_edge(self) -> bool:
        """Something is said in [edge], or it is nothing else; managers name public_url, too."""
        return bool(self.config.edge.model_fields_set - {"public_url"}) or not self.is_manager

    @property
    def node(self) -> Node | None:
        """This machine in [[node]]; None when it isn't listed, or doesn't say which it is."""
        wanted = self.config.edge.node
        for section in self.config.nodes:
            if section.name == wanted:
                return section.to_node()
        return None

    @property
    def service_name(self) -> str:
        """The host name people use."""
        return self.config.dns.name or urlsplit(self.config.edge.public_url).hostname or ""

    @property
    def health_url(self) -> str:
        if self.config.dns.name:
            return self.config.dns.health_url
        return f"{self.config.edge.public_url}-/healthz"

    async def status(self) -> dict[str, Any] | str:
        """What the running edge says of itself, asked once; or why it says nothing."""
        if self._status is None:
            self._status = asyncio.create_task(self._ask_status())
        return await asyncio.shield(self._status)

    async def _ask_status(self) -> dict[str, Any] | str:
        url = f"http://{self.config.edge.admin_listen}/status"
        timeout = aiohttp.ClientTimeout(total=ADMIN_TIMEOUT_S)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout, trust_env=False) as session,
                session.get(url) as answer,
            ):
                said = json.loads(await answer.content.read(MAX_STATUS_BYTES))
        except TimeoutError:
            return f"doesn't answer within {ADMIN_TIMEOUT_S:g} s"
        except aiohttp.ClientConnectorError as error:
            return os.strerror(error.os_error.errno or 0).lower()
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return str(error) or type(error).__name__
        if not isinstance(said, dict) or "workers" not in said:
            return "answers with something that isn't an edge's status"
        return said


async def in_thread(work: Callable[[], Result]) -> Result:
    """Runs `work` in a thread that nobody waits for when it hangs (asyncio's own would be)."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Result] = loop.create_future()

    def settle(set_it: Callable[[], None]) -> None:
        if not future.done():
            set_it()

    def run() -> None:
        try:
            found = work()
        except BaseException as error:  # noqa: BLE001 - it is raised where it is waited for
            reason = error
            report: Callable[[], None] = lambda: future.set_exception(reason)  # noqa: E731
        else:
            report = lambda: future.set_result(found)  # noqa: E731
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(settle, report)

    threading.Thread(target=run, daemon=True, name="doctor").start()
    return await future
