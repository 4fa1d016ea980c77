"""Verification over real connections: what is right, wrong, absent, cut, slow; and the rate."""

from __future__ import annotations

import random
import time
from dataclasses import replace
from email.utils import formatdate
from pathlib import Path

import numpy as np
import pytest
from aiohttp import web
from pyroaring import BitMap

from heliostat.catalog.digest import digest_file
from heliostat.model.catalog import PIECE_BYTES, CatalogTable
from heliostat.model.tree import Tree
from heliostat.probe.choose import Question, Spot, choose
from heliostat.probe.ranges import Read
from heliostat.probe.results import FaultKind
from heliostat.probe.verify import VerifyResult, line_rate, verify_mirror
from tests.probe.helpers import SETTINGS, Handler, file_answer, mirror, serving, table

CONTENT = {
    "big.iso": random.Random(1).randbytes(2 * PIECE_BYTES + 77),
    "small.txt": b"small" * 100,
}

SCANNED_AT_S = 1_800_000_000


def question(tmp_path: Path, **asked: object) -> Question:
    catalog, pieces = catalog_of(tmp_path)
    values: dict[str, object] = {
        "held": BitMap(catalog.file_ids),
        "verified": BitMap(),
        "again": (),
        "metadata": np.empty(0, np.intp),
        "pieces": lambda file_id: pieces[file_id],
        "budget_bytes": 10**9,
        **asked,
    }
    return Question(catalog, **values)  # type: ignore[arg-type]


def catalog_of(tmp_path: Path) -> tuple[CatalogTable, dict[int, bytes]]:
    """CONTENT as a catalog, by the digests that a scan of a tree makes."""
    made = table({path.encode(): len(body) for path, body in CONTENT.items()})
    whole, pieces = [], {}
    for path, file_id in zip(made.paths, made.file_ids.tolist(), strict=True):
        file = tmp_path / path.decode()
        file.write_bytes(CONTENT[path.decode()])
        digests = digest_file(bytes(file))
        whole.append(digests.sha256)
        pieces[file_id] = digests.pieces or digests.sha256
    sha256 = np.frombuffer(b"".join(whole), np.uint8).reshape(-1, 32)
    return replace(made, sha256=sha256, has_sha256=np.ones(len(made), np.bool_)), pieces


async def verified(handler: Handler, asked: Question) -> VerifyResult:
    async with serving(handler) as base:
        return await verify_mirror(
            mirror(base),
            Tree("isos", "/nowhere"),
            choose(asked, random.Random(3), 1),
            SETTINGS,
            scanned_at_s=SCANNED_AT_S,
            clock=time.time,
        )


def good(**other: bytes | int) -> Handler:
    """Serves CONTENT; `other` bytes instead of a file's, or a status."""

    async def handler(request: web.Request) -> web.Response:
        name = request.path.lstrip("/")
        body = other.get(name.partition(".")[0], CONTENT.get(name))
        if body is None:
            raise web.HTTPNotFound
        if isinstance(body, int):
            return web.Response(status=body)
        return file_answer(request, body)

    return handler


async def test_a_good_mirror_is_right_and_has_a_rate(tmp_path: Path) -> None:
    asked = question(tmp_path)
    found = await verified(good(), asked)
    assert found.right == asked.held
    assert (found.wrong, found.absent, found.unserved) == ([], BitMap(), ())
    assert found.rate_bytes_per_s is not None
    assert found.rate_bytes_per_s > 1_000_000
    assert Spot(b"big.iso", 2 * PIECE_BYTES) in found.right_spots
    assert found.bytes_read >= PIECE_BYTES + 77 + 500


async def test_one_wrong_bit_is_named_with_both_digests(tmp_path: Path) -> None:
    body = bytearray(CONTENT["big.iso"])
    body[-1] ^= 1
    asked = question(tmp_path)
    found = await verified(good(big=bytes(body)), asked)
    (file_id, piece), *_ = found.wrong
    assert file_id == 100
    assert (piece.path, piece.offset, piece.length) == (b"big.iso", 2 * PIECE_BYTES, 77)
    assert piece.expected == asked.pieces(100)[-32:].hex()
    assert piece.seen not in (piece.expected, "")
    assert 100 not in found.right
    assert 101 in found.right


async def test_a_file_that_is_not_given_out_is_absent(tmp_path: Path) -> None:
    found = await verified(good(small=404), question(tmp_path))
    assert found.absent == BitMap([101])
    assert not found.wrong


async def test_an_endpoint_that_breaks_off_most_reads_serves_nobody(tmp_path: Path) -> None:
    async def handler(request: web.Request) -> web.Response:
        assert request.transport is not None
        request.transport.close()
        return web.Response()

    found = await verified(handler, question(tmp_path))
    assert [fault.kind for fault in found.unserved] == [FaultKind.PROTOCOL]
    assert found.unserved_spots
    assert not found.right


async def test_a_server_in_trouble_is_a_matter_of_liveness(tmp_path: Path) -> None:
    found = await verified(good(small=500, big=503), question(tmp_path))
    assert (found.unserved, found.wrong, found.right) == ((), [], BitMap())


async def test_another_length_is_another_file_and_no_wrong_one(tmp_path: Path) -> None:
    found = await verified(good(small=b"short"), question(tmp_path))
    assert 101 in found.absent
    assert not found.wrong


@pytest.mark.parametrize(("later_s", "is_wrong"), [(60, False), (-60, True)])
async def test_what_changed_there_after_we_looked_may_be_ahead(
    tmp_path: Path, later_s: int, is_wrong: bool
) -> None:
    inner = good(small=b"other" * 100)

    async def handler(request: web.Request) -> web.StreamResponse:
        answer = await inner(request)
        answer.headers["Last-Modified"] = formatdate(SCANNED_AT_S + later_s, usegmt=True)
        return answer

    found = await verified(handler, question(tmp_path))
    assert bool(found.wrong) is is_wrong
    assert (101 in found.newer) is not is_wrong


async def test_a_hiccup_is_read_again(tmp_path: Path) -> None:
    calls: dict[str, int] = {}
    inner = good()

    async def handler(request: web.Request) -> web.StreamResponse:
        key = request.path + request.headers.get("Range", "")
        calls[key] = calls.get(key, 0) + 1
        if calls[key] == 1:
            raise web.HTTPServiceUnavailable
        return await inner(request)

    asked = question(tmp_path)
    found = await verified(handler, asked)
    assert found.right == asked.held
    assert not found.unserved


async def test_what_was_wrong_is_read_again_though_it_was_verified(tmp_path: Path) -> None:
    spot = Spot(b"big.iso", PIECE_BYTES)
    asked = question(tmp_path, verified=BitMap([100, 101]), again=(spot,))
    found = await verified(good(), asked)
    assert spot in found.right_spots


@pytest.mark.parametrize(
    ("read", "rate"),
    [
        (Read(b"", 1_000_000, 0.0, 1.0, True), 1e6),
        (Read(b"", 1_000_000, 0.1, 1.0, True), 1e6 / (1 - 0.1 * 6.119)),
        (Read(b"", 1_000_000, 10.0, 1.0, True), 4e6),
    ],
)
def test_the_round_trips_of_slow_start_are_no_slowness_of_the_line(read: Read, rate: float) -> None:
    assert line_rate(read) == pytest.approx(rate, rel=1e-3)
