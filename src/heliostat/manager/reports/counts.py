"""Takes a segment of a node's spool and adds it to the sums, once however often it comes.

Promises: the segment's identity is noted in the transaction that adds its downloads, so a manager
that is killed, or whose answer is lost, has counted it wholly or not at all; the table is bounded,
as hours become days and days are dropped. Import only after `setup_django`; synchronous.
"""

from __future__ import annotations

import hashlib
import io
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from django.db import connection, transaction

from heliostat.edge.counts.block import Block
from heliostat.edge.counts.errors import DamagedSegmentError
from heliostat.edge.counts.segment import MAX_RECORD_BYTES, blocks_of, read_identity
from heliostat.edge.counts.spool import SEGMENT_BYTES
from heliostat.manager.budgets.demand import Bytes, SizeOf, fold_old_demand
from heliostat.manager.nodes.models import (
    COUNTRY_CHARS,
    MIRROR_CHARS,
    CountBatch,
    DownloadCount,
)
from heliostat.model.errors import HeliostatError

MAX_SEGMENT_BYTES: Final = SEGMENT_BYTES + MAX_RECORD_BYTES
"""A segment is closed once it is longer than SEGMENT_BYTES; its last block may be long."""
MAX_ROWS: Final = 40_000_000
"""Rows that one segment may have: what is unpacked stays bounded whatever a node sends."""
BATCH_SUMS: Final = 200_000
"""Sums in memory at once, beside those of one block."""
MAX_BLOCKS: Final = 20_000
MAX_PATH_BYTES: Final = 1400
"""PostgreSQL takes index rows of 2,704 bytes; a longer path is cut and gets its digest."""

EARLIEST: Final = datetime(2020, 1, 1, tzinfo=UTC)
AHEAD: Final = timedelta(days=2)
"""What a node's clock says beyond this is counted as of now."""
HOURS_KEPT: Final = timedelta(days=35)
"""Then hours are added up to days: budgets are monthly."""
DAYS_KEPT: Final = timedelta(days=800)
"""Two years, to compare a release with the last one; batches are remembered as long."""
UPSERT_ROWS: Final = 5000

Key = tuple[datetime, bool, str, str, str]
"""(beginning, whether of a day, path, mirror, country)"""


class BadSegmentError(HeliostatError):
    """What was sent as counts is none."""


def _unknown(path: bytes) -> int:
    return 0


def read_counts(
    raw: bytes, now: datetime, size_of: SizeOf | None = None
) -> tuple[str, Iterator[tuple[Counter[Key], Bytes]]]:
    """The identity of a segment, and its sums in batches that fit into memory.

    Raises:
        BadSegmentError: it is damaged, or larger than any segment; perhaps after some batches.
    """
    handle = io.BytesIO(raw)
    identity = read_identity(handle)
    if identity is None:
        raise BadSegmentError("is no segment of a spool")
    return identity.hex(), _batches(handle, now, size_of or _unknown)


def _batches(
    handle: io.BytesIO, now: datetime, size_of: SizeOf
) -> Iterator[tuple[Counter[Key], Bytes]]:
    sums: Counter[Key] = Counter()
    of_bytes = Bytes()
    rows = 0
    try:
        for number, block in enumerate(blocks_of(handle, "the segment")):
            rows += len(block.counts)
            if rows > MAX_ROWS or number >= MAX_BLOCKS:
                raise BadSegmentError(f"has more than {MAX_ROWS} rows or {MAX_BLOCKS} blocks")
            _add(block, now, sums, size_of, of_bytes)
            if len(sums) >= BATCH_SUMS:
                yield sums, of_bytes
                sums, of_bytes = Counter(), Bytes()
    except DamagedSegmentError as error:
        raise BadSegmentError(str(error)) from None
    yield sums, of_bytes


def record_counts(
    node: str, raw: bytes, now: datetime | None = None, size_of: SizeOf | None = None
) -> int:
    """Downloads that were added; 0 when this segment was counted before.

    `size_of` gives the sizes of files, for the sums of bytes.

    Raises:
        BadSegmentError: see `read_counts`; nothing was added.
    """
    now = now or datetime.now(UTC)
    identity, batches = read_counts(raw, now, size_of)
    with transaction.atomic():
        batch, is_new = CountBatch.objects.get_or_create(
            identity=identity, defaults={"node": node, "counted_at": now, "downloads": 0}
        )
        if not is_new:
            return 0
        for sums, of_bytes in batches:
            _upsert(sums)
            of_bytes.store()
            batch.downloads += sum(sums.values())
        batch.save(update_fields=["downloads"])
    return batch.downloads


def fold_old_counts(now: datetime | None = None) -> None:
    """Adds old hours up to days and drops the oldest days; each day in a transaction of its own."""
    now = now or datetime.now(UTC)
    hours = DownloadCount.objects.filter(is_day=False)
    for day in hours.filter(at__lt=_day(now - HOURS_KEPT)).datetimes("at", "day", tzinfo=UTC):
        with transaction.atomic():
            of_day = hours.filter(at__gte=day, at__lt=day + timedelta(days=1))
            sums: Counter[Key] = Counter()
            for row in of_day.select_for_update().iterator():
                sums[day, True, row.path, row.mirror, row.country] += row.downloads
            _upsert(sums)
            of_day.delete()
    DownloadCount.objects.filter(at__lt=_day(now - DAYS_KEPT)).delete()
    CountBatch.objects.filter(counted_at__lt=now - DAYS_KEPT).delete()
    fold_old_demand(now)


def _add(block: Block, now: datetime, sums: Counter[Key], size_of: SizeOf, of_bytes: Bytes) -> None:
    is_day = block.span > 60
    at = now
    if block.minute <= (now + AHEAD).timestamp() / 60:
        at = max(datetime.fromtimestamp(block.minute * 60, UTC), EARLIEST)
    at = _day(at) if is_day else at.replace(minute=0, second=0, microsecond=0)
    paths = [_path(path) for path in block.paths]
    mirrors = [_clean(name, MIRROR_CHARS) for name in block.mirrors]
    countries = [_clean(name, COUNTRY_CHARS) for name in block.countries]
    columns = (block.country_of_row.tolist(), block.mirror_of_row.tolist(), block.counts.tolist())
    rows = zip(*columns, strict=True)
    for raw, path, count in zip(block.paths, paths, block.rows_of_path.tolist(), strict=True):
        size = size_of(raw)
        for _ in range(count):
            country, mirror, downloads = next(rows)
            sums[at, is_day, path, mirrors[mirror], countries[country]] += downloads
            of_bytes.add(at, is_day, mirrors[mirror], countries[country], size, downloads)


def _upsert(sums: Counter[Key]) -> None:
    table = DownloadCount._meta.db_table
    sql = (
        f"INSERT INTO {table} (at, is_day, path, mirror, country, downloads)"  # noqa: S608  ours
        " VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT (at, is_day, path, mirror, country)"
        f" DO UPDATE SET downloads = {table}.downloads + excluded.downloads"
    )
    # In the order of the keys: two transactions that meet the same rows don't lock each other out.
    rows = [(_time(key[0]), *key[1:], downloads) for key, downloads in sorted(sums.items())]
    with connection.cursor() as cursor:
        for start in range(0, len(rows), UPSERT_ROWS):
            cursor.executemany(sql, rows[start : start + UPSERT_ROWS])


def _time(at: datetime) -> Any:
    """As this database's column has it."""
    return connection.ops.adapt_datetimefield_value(at)


def _day(at: datetime) -> datetime:
    return at.replace(hour=0, minute=0, second=0, microsecond=0)


def _path(raw: bytes) -> str:
    if len(raw) > MAX_PATH_BYTES:
        raw = raw[: MAX_PATH_BYTES - 33] + b"~" + hashlib.sha256(raw).hexdigest()[:32].encode()
    text = raw.decode("utf-8", "backslashreplace").replace("\0", "\\x00")
    # odd bytes grow to four characters each
    return text if len(text.encode()) <= MAX_PATH_BYTES else _path(text.encode())


def _clean(name: str, limit: int) -> str:
    return name.encode("utf-8", "replace").decode().replace("\0", "?")[:limit]
