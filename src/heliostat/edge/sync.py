"""Keeps the edge on the newest state: opens the held one, then asks its sources.

Promises: whatever is wrong with a source, or all of them, serving goes on with what is held. The
newest state that is valid is taken, from whichever source has it; a state that came with the
installation is the last resort. Nothing here is waited for by requests.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import structlog

from heliostat.edge.offers import LOCAL_POLL_S, SourceView, remarks
from heliostat.model.errors import HeliostatError
from heliostat.state.errors import Fault, NoStateError, SourceError, StateError
from heliostat.state.opened import State, open_state
from heliostat.state.sources import FolderSource, source_of
from heliostat.state.store import StateStore

log = structlog.get_logger()

ASKED_AT_ONCE: Final = 8
LEAST_PAUSE_S: Final = 0.1
MAX_ROOT_BYTES: Final = 512_000


@dataclass(frozen=True, slots=True)
class SyncSettings:
    """Where states come from. Without `sources`, from `local`."""

    local: Path
    sources: Sequence[str] = ()
    ca: Path | None = None
    poll_s: float = 5.0
    root: Path | None = None
    """The root that is trusted; None: that of `local`."""
    installed: Path | None = None

    def views(self) -> list[SourceView]:
        """The sources, as nothing is known of them yet."""
        if not self.sources:
            return [SourceView(FolderSource(self.local), LOCAL_POLL_S)]
        return [SourceView(source_of(where, self.ca), self.poll_s) for where in self.sources]


class StateSync:
    """Feeds `use` with every state worth serving; `use` is called in whatever thread looks."""

    def __init__(
        self, settings: SyncSettings, held: StateStore, use: Callable[[State], None]
    ) -> None:
        self._settings = settings
        self._held = held
        self._use = use
        self._state: State | None = None
        self._views: list[SourceView] = []
        self._rng = random.Random()  # noqa: S311 - jitter is no secret

    def open_held(self) -> str:
        """Verifies and opens what is held, changing nothing on disk; "", or why there is nothing.

        Never raises.
        """
        from heliostat.state.trust import verified_manifest  # here: workers do without it

        try:
            manifest = verified_manifest(self._held.folder)
            self._take(open_state(self._held, manifest))
        except NoStateError:
            return "there is no state yet"
        except (StateError, OSError) as error:
            log.error("the held state is damaged; it is fetched anew", reason=str(error))
            return str(error)
        except Exception as error:  # the boundary to bytes that a disk may have changed
            log.exception("a fault while opening the held state")
            return f"{type(error).__name__}: {error}"
        return ""

    def check(self) -> str:
        """Asks the sources that are due; "", or why there is still no state at all.

        Never raises: whatever is wrong with a source or a disk, serving goes on.
        """
        try:
            reasons = self._round()
            if reasons and self._state is None and self._settings.installed is not None:
                return self._adopt(self._settings.installed)
        except Exception as error:  # the boundary to bytes that somebody else made
            log.exception("a fault while taking a state")
            return f"{type(error).__name__}: {error}"
        return reasons[0] if reasons and self._state is None else ""

    async def run(self) -> None:
        """Asks the sources until cancelled."""
        while True:
            now_s = time.monotonic()
            due_s = min((view.due_s for view in self._views), default=now_s)
            await asyncio.sleep(max(LEAST_PAUSE_S, due_s - now_s))
            await asyncio.to_thread(self.check)

    # one round

    def _round(self) -> list[str]:
        """Why sources failed, the ones that were due; their offers are tried newest first."""
        if not self._views:
            self._views = self._settings.views()
        due = [view for view in self._views if view.due_s <= time.monotonic()]
        for view in due:
            view.judge_again_if_due(time.monotonic())
        if len(due) == 1:
            asked = [self._ask(due[0])]
        else:
            with ThreadPoolExecutor(ASKED_AT_ONCE, thread_name_prefix="source") as pool:
                asked = list(pool.map(self._ask, due))
        offers = [(version, view, raw) for view, (version, raw, _) in zip(due, asked, strict=True)]
        reasons = [reason for _, _, reason in asked if reason]
        offers.sort(key=lambda offer: -offer[0])
        for version, view, raw in offers:
            if raw and (reason := self._try(view, version, raw)):
                reasons.append(reason)
        return reasons

    def _ask(self, view: SourceView) -> tuple[int, bytes, str]:
        """(version, timestamp metadata, "") of what is new there, or (0, b"", why not)."""
        from heliostat.state.fetch import offered_version  # here: workers do without it

        try:
            raw = view.source.timestamp()
            now_s = time.monotonic()
            view.answered(now_s, self._rng)
            if raw is None:
                return 0, b"", ""
            return offered_version(view.source, raw), raw, ""
        except HeliostatError as error:
            view.source.forget()  # the first answer after an outage is judged, whatever it is
            return 0, b"", self._wrong(view, error)

    def _try(self, view: SourceView, version: int, raw: bytes) -> str:
        """Takes an offer, if it is worth it; "", or why not."""
        from heliostat.state.fetch import take_offer

        current = self._state.manifest if self._state else None
        view.offered = version
        if current is not None and version == current.version:
            view.took(version)  # another source was faster
            return ""
        try:
            state = take_offer(view.source, raw, self._held, current, self._state, self._anchor())
        except HeliostatError as error:
            if isinstance(error, SourceError):
                view.source.forget()
            return self._wrong(view, error)
        except OSError as error:
            view.source.forget()
            fault = SourceError(f"{error.filename or self._held.folder}: {error.strerror or error}")
            return self._wrong(view, fault)
        view.took(version)
        if state is not None:
            self._take(state)
        return ""

    def _wrong(self, view: SourceView, error: HeliostatError) -> str:
        fault: Fault = getattr(error, "fault", Fault.UNREACHABLE)
        is_news = view.went_wrong(fault, str(error), time.monotonic(), self._rng)
        if is_news and not (isinstance(error, NoStateError) and self._state is None):
            tell = log.warning if fault in (Fault.UNREACHABLE, Fault.MISSING) else log.error
            tell(
                "state not taken, serving goes on with what is held",
                reason=str(error),
                fault=str(fault),
                source=view.source.name,
            )
        return str(error)

    def _adopt(self, folder: Path) -> str:
        from heliostat.state.fetch import adopt

        try:
            self._take(adopt(folder, self._held, self._anchor()))
        except (HeliostatError, OSError) as error:
            log.error("the state of the installation isn't taken", reason=str(error))
            return str(error)
        log.warning("serving by the state of the installation: no source has one")
        return ""

    def _anchor(self) -> bytes | None:
        """The root that is trusted, as it is on the disk now.

        Raises:
            SourceError: it can't be read.
        """
        path = self._settings.root
        if path is None:
            return None
        try:
            with path.open("rb") as handle:
                return handle.read(MAX_ROOT_BYTES)
        except OSError as error:
            raise SourceError(
                f"{path}: {error.strerror or error}; put the manager's root.json there"
            ) from error

    def _take(self, state: State) -> None:
        self._state = state
        self._use(state)
        log.info(
            "state in service",
            version=state.version,
            published_at=state.published_at.isoformat(),
            **state.manifest.counts,
        )

    # what others are told

    @property
    def detail(self) -> list[str]:
        """Lines of health detail."""
        return remarks(self._views)

    def told(self) -> list[dict[str, Any]]:
        """Each source, for people and for the manager."""
        now_s = time.monotonic()
        return [view.told(now_s) for view in self._views]

    def figures(self) -> dict[str, dict[Any, float]]:
        """As `figures.metrics_of` takes them."""
        refused: dict[Any, float] = dict.fromkeys(map(str, Fault), 0)
        for view in self._views:
            for fault, count in view.refusals.items():
                refused[str(fault)] += count
        return {
            "state_refused_total": refused,
            "state_source_up": {
                view.source.name: view.answered_s is not None and not view.failures
                for view in self._views
            },
            "state_source_version": {view.source.name: view.offered for view in self._views},
        }
