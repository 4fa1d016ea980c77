"""Counts of nodes: each segment is added once, whatever is sent, lost or sent again."""

from __future__ import annotations

import hashlib
import io
import itertools
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aiohttp.test_utils import TestClient, TestServer
from django.db import connection
from hypothesis import given, settings
from hypothesis import strategies as st

from heliostat.edge.counts.block import Block
from heliostat.edge.counts.spool import Spool
from heliostat.manager.nodes.models import CountBatch, DownloadCount
from heliostat.manager.reports import counts
from heliostat.manager.reports.counts import (
    MAX_PATH_BYTES,
    BadSegmentError,
    fold_old_counts,
    read_counts,
    record_counts,
)
from heliostat.manager.reports.server import COUNTS_PATH, report_app, token_sha256
from heliostat.manager.setup import in_database
from tests.edge.counts.stage import make_block

NOW = datetime(2025, 6, 15, 12, 30, tzinfo=UTC)
MINUTE = int(NOW.timestamp() // 60)
_folders = itertools.count()


def segment(folder: Path, *blocks: Block) -> bytes:
    """As an edge writes and closes it."""
    spool = Spool(folder / f"spool{next(_folders)}", 1 << 30, clock=lambda: 0.0)
    for block in blocks:
        assert spool.append(block)
    spool.close()
    sending = spool.begin_sending()
    assert sending is not None
    return sending.read_bytes()


def total() -> int:
    return sum(DownloadCount.objects.values_list("downloads", flat=True))


async def posted(body: bytes, token: str = "s") -> tuple[int, str]:
    async with TestClient(TestServer(report_app({"fra": token_sha256("s")}))) as client:
        headers = {"Authorization": f"Bearer {token}"}
        answer = await client.post(COUNTS_PATH, data=io.BytesIO(body), headers=headers)
        return answer.status, await answer.text()


@pytest.mark.usefixtures("loaded")
async def test_a_segment_that_comes_twice_counts_once(tmp_path: Path) -> None:
    blocks = [make_block(number, minute=MINUTE + number) for number in range(3)]
    raw = segment(tmp_path, *blocks)
    assert await posted(raw) == (204, "")
    assert await posted(raw) == (204, "")
    assert await in_database(total) == sum(block.downloads for block in blocks)
    another = segment(tmp_path, blocks[0])  # the same downloads, but others
    assert await posted(another) == (204, "")
    assert await in_database(total) == sum(b.downloads for b in [*blocks, blocks[0]])
    assert await in_database(CountBatch.objects.count) == 2


@pytest.mark.usefixtures("loaded")
async def test_what_is_no_segment_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    raw = segment(tmp_path, make_block(1, minute=MINUTE))
    for bad in (b"", b"HELIOSP1", raw[:-1], raw[:40] + b"x" + raw[41:], raw + b"x"):
        status, text = await posted(bad)
        assert (status, text.count("\n")) == (422, 1)
    assert (await posted(raw, "t"))[0] == 401
    assert not await in_database(CountBatch.objects.exists)
    assert not await in_database(DownloadCount.objects.exists)


@pytest.mark.usefixtures("loaded")
def test_a_manager_that_dies_while_counting_has_counted_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = segment(tmp_path, make_block(1, minute=MINUTE))

    def dies(sums: object) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(counts, "_upsert", dies)
        with pytest.raises(KeyboardInterrupt):
            record_counts("fra", raw, NOW)
    assert not CountBatch.objects.exists()
    assert record_counts("fra", raw, NOW) == total() > 0


@pytest.mark.usefixtures("loaded")
def test_minutes_become_hours_then_days_then_are_dropped(tmp_path: Path) -> None:
    blocks = [make_block(1, minute=MINUTE + more) for more in (0, 20, 40, 24 * 60)]
    record_counts("fra", segment(tmp_path, *blocks), NOW)
    hours = sorted(set(DownloadCount.objects.values_list("at", flat=True)))
    assert [(at.day, at.hour) for at in hours] == [(15, 12), (15, 13), (16, 12)]
    before = total()
    fold_old_counts(NOW + counts.HOURS_KEPT)
    assert {at.hour for at in DownloadCount.objects.values_list("at", flat=True)} == {12, 13}
    fold_old_counts(NOW + counts.HOURS_KEPT + timedelta(days=2))
    assert total() == before
    assert {(row.at.hour, row.is_day) for row in DownloadCount.objects.all()} == {(0, True)}
    fold_old_counts(NOW + counts.DAYS_KEPT + timedelta(days=2))
    assert not DownloadCount.objects.exists()
    assert not CountBatch.objects.exists()


@pytest.mark.usefixtures("loaded")
def test_odd_names_and_clocks_are_counted_all_the_same(tmp_path: Path) -> None:
    base = make_block(1, minute=MINUTE)
    paths = [b"\0\xff" * 900, b"a/" * 5000, *base.paths[2:]]
    odd = Block(
        "fra",
        1 << 50,
        base.countries,
        tuple("m\0" * 200 for _ in base.mirrors),
        paths,
        base.rows_of_path,
        base.country_of_row,
        base.mirror_of_row,
        base.counts,
    )
    assert record_counts("fra", segment(tmp_path, odd), NOW) == odd.downloads == total()
    row = DownloadCount.objects.order_by("-path")[0]
    assert max(len(r.path.encode()) for r in DownloadCount.objects.all()) <= MAX_PATH_BYTES
    assert row.at == NOW.replace(minute=0)


@given(st.binary(max_size=400))
@settings(max_examples=200)
def test_any_bytes_are_counts_or_refused(raw: bytes) -> None:
    for some in (raw, b"HELIOSP1" + hashlib.md5(raw).digest() + raw):
        try:
            identity, batches = read_counts(some, NOW)
            ((sums, of_bytes),) = batches
        except BadSegmentError:
            continue
        assert len(identity) == 32
        assert not sums
        assert not of_bytes.demand
