"""Verification: are the bytes that a mirror gives those of the catalog, and how fast do they come?

Pieces are chosen by `heliostat.probe.choose` and read over every web endpoint in turn. What is
wrong is read a second time, over a connection of its own, before it is said. The rate is that of
single reads, one after the other, with the round trips of TCP's slow start taken out: a mirror
that is far isn't slow (its distance is in the cost already).
"""

from __future__ import annotations

import asyncio
import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median

import aiohttp
from pyroaring import BitMap

from heliostat.config.schema import ProbeSection
from heliostat.listing.pace import Pace
from heliostat.model.mirror import Mirror, Scheme
from heliostat.model.tree import Tree
from heliostat.probe.boundary import unexpected
from heliostat.probe.choose import Chosen, Spot
from heliostat.probe.guard import Guard, Lookup, system_lookup
from heliostat.probe.http import file_url, open_session
from heliostat.probe.limits import MAX_FAULTS_IN_A_ROW, SECOND_LOOK_PAUSE_S
from heliostat.probe.liveness import hosts_of
from heliostat.probe.pool import run_bounded
from heliostat.probe.ranges import Piece, Read, read_range
from heliostat.probe.results import Fault, FaultKind

ABSENT_STATUS = (" answers 404", " answers 403", " answers 410", " answers 451")
WRONG_KINDS = (FaultKind.TRUNCATED, FaultKind.ENCODING)
"""Of an answer that came: it isn't the file. Another length is a file that changed since its
listing."""
SERVING_KINDS = (FaultKind.SLOW, FaultKind.TIMEOUT, FaultKind.PROTOCOL)
"""That keep a file from being had; what else keeps it, liveness sees sooner."""
LEAST_FAILED = 2
"""Reads that fail before an endpoint is said to serve nobody."""
TIMED_MIN_BYTES = 256 * 1024
"""Smaller pieces tell more of the distance than of the line."""
INITIAL_WINDOW_BYTES = 14_600
"""What TCP sends before the first acknowledgement (RFC 6928); it doubles each round trip."""
SLOW_COUNTS = 2
"""A slow read costs a minute: as many faults in a row as this, towards giving up."""
WRONG_KEPT = 20
"""Wrong pieces that are told and read again next time."""


@dataclass(frozen=True, slots=True)
class WrongPiece:
    """Evidence for a mirror's operator. `seen` is a digest in hexadecimal, or a sentence."""

    path: bytes
    offset: int
    length: int
    url: str
    expected: str
    seen: str

    @property
    def spot(self) -> Spot:
        return Spot(self.path, self.offset)


@dataclass(slots=True)
class VerifyResult:
    """What one verification of one mirror and tree found. Bitmaps are of file ids."""

    mirror: str
    tree: str
    at_s: int
    vantage: str
    bytes_read: int = 0
    pieces: int = 0
    """Read and right."""
    rate_bytes_per_s: float | None = None
    right: BitMap = field(default_factory=BitMap)
    """Files of which everything that was read was right."""
    right_spots: set[Spot] = field(default_factory=set)
    """Every place that was read and right."""
    wrong: list[tuple[int, WrongPiece]] = field(default_factory=list)
    """(file id, evidence)."""
    absent: BitMap = field(default_factory=BitMap)
    """Files that its listing has and it doesn't give out, or not in that length."""
    newer: BitMap = field(default_factory=BitMap)
    """Files with other bytes that changed there after the catalog was made: it may be ahead."""
    unserved: tuple[Fault, ...] = ()
    """Why one of its endpoints gives most of what it is asked for not at all, or too slowly."""
    unserved_spots: tuple[Spot, ...] = ()


async def verify_mirror(
    mirror: Mirror,
    tree: Tree,
    chosen: Chosen,
    settings: ProbeSection,
    *,
    scanned_at_s: float,
    clock: Callable[[], float],
    lookup: Lookup = system_lookup,
    redirectors: Sequence[str] = (),
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> VerifyResult:
    """Reads what was chosen from the mirror; never raises for what the mirror does.

    `scanned_at_s` is when the tree was last looked at (Unix time).
    """
    result = VerifyResult(mirror.name, tree.name, int(clock()), settings.vantage)
    urls = [
        e.url
        for e in mirror.endpoints
        if e.tree == tree.name and e.scheme in (Scheme.HTTPS, Scheme.HTTP)
    ]
    if not urls:
        return result
    try:
        guard = Guard(hosts_of(mirror), settings.allow_private, lookup, redirectors=redirectors)
        async with (
            open_session(guard, settings) as session,
            asyncio.timeout(settings.scan_timeout_s),
        ):
            rate = mirror.requests_per_s or settings.requests_per_s
            pace = Pace(rate, settings.connections_per_mirror)
            reading = _Reading(urls, session, guard, settings, pace, result, progress)
            reading.scanned_at_s = scanned_at_s
            await reading.read(chosen)
    except TimeoutError:
        pass  # what was read until then counts
    except Exception as error:  # noqa: BLE001  one mirror's trouble must not end the others'
        unexpected(mirror.name, error)
    return result


class _GivenUpError(Exception):
    """Too many reads in a row failed."""


class _Reading:
    """The reads of one verification."""

    def __init__(
        self,
        urls: Sequence[str],
        session: aiohttp.ClientSession,
        guard: Guard,
        settings: ProbeSection,
        pace: Pace,
        result: VerifyResult,
        progress: Callable[[int, int], None],
    ) -> None:
        self._urls, self._session, self._guard = urls, session, guard
        self._settings, self._pace = settings, pace
        self._result, self._progress = result, progress
        self.scanned_at_s = 0.0
        self._in_a_row = self._done = self._total = 0
        self._tried: dict[str, int] = dict.fromkeys(urls, 0)
        self._failed: dict[str, list[tuple[Fault, Spot]]] = {url: [] for url in urls}
        self._rates: list[float] = []
        self._doubted = BitMap()

    async def read(self, chosen: Chosen) -> None:
        self._total = len(chosen.timed) + len(chosen.others)
        turn = itertools.cycle(self._urls)
        try:
            for piece in chosen.timed:
                await self._piece(piece, next(turn), timed=True)
            work = list(zip(chosen.others, turn))  # noqa: B905  `turn` has no end

            async def one(item: tuple[Piece, str]) -> None:
                await self._piece(*item)

            await run_bounded(work, one, self._settings.connections_per_mirror)
        except _GivenUpError:
            pass
        self._result.right -= self._doubted
        self._result.rate_bytes_per_s = median(self._rates) if self._rates else None
        self._judge_endpoints()

    async def _piece(self, piece: Piece, base: str, *, timed: bool = False) -> None:
        url = file_url(base, piece.path)
        found = await self._once(url, piece)
        is_slow = isinstance(found, Fault) and found.kind is FaultKind.SLOW
        if not is_slow and (isinstance(found, Fault) or found.sha256 != piece.sha256):
            await asyncio.sleep(SECOND_LOOK_PAUSE_S)
            found = await self._once(url, piece)
        self._tried[base] += 1
        self._done += 1
        self._progress(self._done, self._total)
        if isinstance(found, Fault):
            self._note_fault(piece, base, url, found)
        elif found.sha256 != piece.sha256:
            if found.modified_s is not None and found.modified_s >= self.scanned_at_s:
                self._result.newer.add(piece.file_id)
                self._doubted.add(piece.file_id)
            else:
                self._wrong(piece, url, found.sha256.hex())
        else:
            self._in_a_row = 0
            self._result.pieces += 1
            self._result.right.add(piece.file_id)
            self._result.right_spots.add(Spot(piece.path, piece.offset))
            if timed and piece.length >= TIMED_MIN_BYTES:
                self._rates.append(line_rate(found))

    async def _once(self, url: str, piece: Piece) -> Read | Fault:
        timeout_s = self._settings.timeout_s
        async with self._pace:
            return await read_range(self._session, self._guard, url, piece, timeout_s, self._count)

    def _count(self, size_bytes: int) -> None:
        self._result.bytes_read += size_bytes

    def _note_fault(self, piece: Piece, base: str, url: str, fault: Fault) -> None:
        self._doubted.add(piece.file_id)
        if fault.kind is FaultKind.RANGE:
            return  # a note of liveness; nothing is known of the bytes
        is_absent = fault.kind is FaultKind.STATUS and fault.reason.endswith(ABSENT_STATUS)
        if is_absent or fault.kind is FaultKind.SIZE:
            self._result.absent.add(piece.file_id)
            return
        if fault.kind in WRONG_KINDS:
            self._wrong(piece, url, fault.reason)
            return
        if fault.kind in SERVING_KINDS:
            self._failed[base].append((fault, Spot(piece.path, piece.offset)))
        self._in_a_row += SLOW_COUNTS if fault.kind is FaultKind.SLOW else 1
        if self._in_a_row >= MAX_FAULTS_IN_A_ROW:
            raise _GivenUpError

    def _wrong(self, piece: Piece, url: str, seen: str) -> None:
        self._doubted.add(piece.file_id)
        if len(self._result.wrong) < WRONG_KEPT:
            evidence = WrongPiece(
                piece.path, piece.offset, piece.length, url, piece.sha256.hex(), seen
            )
            self._result.wrong.append((piece.file_id, evidence))

    def _judge_endpoints(self) -> None:
        """An endpoint that gave at most half of what it was asked for serves nobody."""
        faults: list[Fault] = []
        spots: list[Spot] = []
        for base, failed in self._failed.items():
            if len(failed) >= LEAST_FAILED and 2 * len(failed) >= self._tried[base]:
                faults.append(failed[0][0])
                spots += [spot for _, spot in failed[:WRONG_KEPT]]
        self._result.unserved = tuple(faults)
        self._result.unserved_spots = tuple(spots[:WRONG_KEPT])


def line_rate(read: Read) -> float:
    """Bytes a second of the line, without the round trips in which TCP opens its window.

    `waited_s` stands for one round trip. At most three quarters of the time are taken out, as the
    window may have been open already.
    """
    rounds = math.log2(1 + read.size_bytes / INITIAL_WINDOW_BYTES)
    line_s = max(read.body_s - read.waited_s * rounds, read.body_s / 4)
    return read.size_bytes / max(line_s, 1e-6)
