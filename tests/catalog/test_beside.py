"""What a scan keeps of single files: digests of torrents, bodies, former contents, zsync files."""

from __future__ import annotations

import gzip
import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliostat.catalog import catalog_path
from heliostat.catalog.formers import FORMER_DAYS, MAX_FORMERS
from heliostat.catalog.report import ScanPhase, ScanProgress
from heliostat.catalog.torrent import of_small
from heliostat.model.extras import Details, Former
from tests.catalog.helpers import Workshop, sha256
from tests.catalog.remote_shop import KINDS, RemoteShop, remote_shop
from tests.support.extras import BLOCK, PIECE, details_of

SIZES = [1, BLOCK, BLOCK + 1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE, 5 * PIECE + BLOCK + 7]
DAY_S = 86_400


@pytest.fixture(params=KINDS)
def elsewhere(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[RemoteShop]:
    with remote_shop(request.param, tmp_path, monkeypatch) as shop:
        yield shop


def details(shop: Workshop) -> dict[bytes, Details]:
    path_of = {file.file_id: path for path, file in shop.files.items()}
    with shop.open() as catalog:
        return {path_of[file_id]: found for file_id, found in catalog.details()}


def bodies(shop: Workshop) -> dict[bytes, bytes]:
    with shop.open() as catalog:
        return dict(catalog.bodies())


def formers(shop: Workshop) -> list[tuple[bytes, Former]]:
    with shop.open() as catalog:
        return list(catalog.formers())


# torrents


@pytest.mark.parametrize("size", SIZES)
def test_a_torrents_digests_are_those_of_the_beps(shop: Workshop, size: int) -> None:
    content = random.Random(size).randbytes(size)
    shop.wishes = {"torrents": ("*.iso",)}
    shop.write("a.iso", content)
    shop.scan()
    found, wanted = details(shop)[b"a.iso"], details_of(content)
    assert (found.pieces_sha1, found.layer) == (wanted.pieces_sha1, wanted.layer)
    assert (found.root, found.pieces) == (wanted.root, wanted.pieces)
    assert found.sha256 == sha256(content)
    assert found.has_torrent


@given(content=st.binary(min_size=1, max_size=4 * BLOCK))
def test_any_small_file_has_the_root_of_the_bep(content: bytes) -> None:
    found, wanted = of_small(content), details_of(content)
    assert (found.root, found.pieces_sha1) == (wanted.root, wanted.pieces_sha1)


def test_only_files_that_are_meant_are_read_again_when_torrents_are_wished_for(
    shop: Workshop,
) -> None:
    for name in ("a.iso", "b.iso", "c.txt"):
        shop.write(name, name.encode())
    shop.write("empty.iso", b"")
    shop.scan()
    assert details(shop) == {}
    shop.wishes = {"torrents": ("*.iso",)}
    report = shop.scan()
    assert report.hashed_files == 2
    assert report.version == 2
    assert set(details(shop)) == {b"a.iso", b"b.iso"}
    assert (shop.scan().hashed_files, shop.scan().version) == (0, 2)


def test_a_file_that_moved_to_where_torrents_are_is_read_again(shop: Workshop) -> None:
    shop.wishes = {"torrents": ("isos/*",)}
    shop.write("new/a.iso", bytes(2 * PIECE))
    shop.scan()
    (shop.root / "isos").mkdir()
    (shop.root / "new/a.iso").rename(shop.root / "isos/a.iso")
    assert shop.scan().hashed_files == 1
    assert details(shop)[b"isos/a.iso"].has_torrent


# bodies


def test_small_files_of_trust_are_kept_with_their_bytes(shop: Workshop) -> None:
    shop.wishes = {"carried": ("latest-*",), "carried_max_bytes": 10}
    for name, content in {
        "a.iso": b"iso",
        "a.iso.asc": b"sig",
        "d/SHA256SUMS": b"sums",
        "latest-1": b"9",
        "big.sha256": b"x" * 11,
        "empty.md5": b"",
    }.items():
        shop.write(name, content)
    (shop.root / "b.iso.asc").symlink_to("a.iso.asc")
    report = shop.scan()
    assert bodies(shop) == {
        b"a.iso.asc": b"sig",
        b"b.iso.asc": b"sig",
        b"d/SHA256SUMS": b"sums",
        b"latest-1": b"9",
        b"empty.md5": b"",
    }
    (problem,) = report.problems
    assert problem.path == b"big.sha256"
    assert "carried_max_bytes" in problem.message


def test_bodies_follow_their_files(shop: Workshop) -> None:
    for name in ("changes.asc", "goes.asc", "stays.asc"):
        shop.write(name, name.encode())
    shop.scan()
    (shop.root / "goes.asc").unlink()
    shop.write("changes.asc", b"other")
    shop.scan()
    assert bodies(shop) == {b"changes.asc": b"other", b"stays.asc": b"stays.asc"}
    with shop.open() as catalog:
        before = catalog.beside
    shop.scan()
    with shop.open() as catalog:
        assert catalog.beside == before


def test_a_new_wish_is_followed_without_reading_the_tree_again(shop: Workshop) -> None:
    shop.write("latest", b"9")
    shop.scan()
    shop.wishes = {"carried": ("latest",)}
    report = shop.scan()
    assert (report.hashed_files, report.version) == (0, 1)
    assert bodies(shop) == {b"latest": b"9"}


def test_what_changed_behind_the_scan_is_not_kept(shop: Workshop) -> None:
    path = shop.write("a.asc", b"one")

    def change(progress: ScanProgress) -> None:
        if progress.phase is ScanPhase.WRITE:  # all files were read
            path.write_bytes(b"two, and longer")

    report = shop.scan(progress=change)
    assert bodies(shop) == {}
    assert "has changed since" in report.problems[0].message
    shop.scan()
    assert bodies(shop) == {b"a.asc": b"two, and longer"}


def test_a_catalog_of_the_release_before_gets_its_bodies(shop: Workshop) -> None:
    shop.write("a.asc", b"sig")
    shop.scan()
    with closing(sqlite3.connect(catalog_path(shop.data_dir, "t"))) as before:
        for table in ("body", "zsync", "former"):
            before.execute(f"DROP TABLE {table}")
        for column in ("pieces_sha1", "layer", "root"):
            before.execute(f"ALTER TABLE content DROP COLUMN {column}")
        before.execute("DELETE FROM meta WHERE key IN ('beside', 'carried_version')")
        before.execute("UPDATE meta SET value = 3 WHERE key = 'schema'")
        before.commit()
    assert shop.scan().hashed_files == 0
    assert bodies(shop) == {b"a.asc": b"sig"}


def test_the_sum_of_bodies_is_bounded(shop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("heliostat.catalog.carried.MAX_CARRIED_TOTAL_BYTES", 25)
    for number in range(4):
        shop.write(f"{number}.asc", b"0123456789")
    report = shop.scan()
    assert list(bodies(shop)) == [b"0.asc", b"1.asc"]
    assert report.problems[0].message.startswith("2 small files more")


# former contents


def test_what_stood_there_before_is_told_newest_first(shop: Workshop) -> None:
    shop.extra, shop.wishes = ("sha1",), {"metadata": ("*.xml",)}
    now_s = 1_760_000_000
    for number in range(4):
        shop.write("r/repomd.xml", b"version %d" % number)
        shop.write("r/other.txt", b"version %d" % number)
        shop.scan(clock=lambda: now_s + number)  # noqa: B023  called at once
    found = formers(shop)
    assert [path for path, _ in found] == [b"r/repomd.xml"] * 3
    assert [former.sha256 for _, former in found] == [
        sha256(b"version %d" % number) for number in (2, 1, 0)
    ]
    assert all(len(former.sha1) == 20 for _, former in found)
    assert [former.replaced_at_s - now_s for _, former in found] == [3, 2, 1]


def test_a_content_that_comes_back_is_no_former_one(shop: Workshop) -> None:
    for content in (b"one", b"two", b"one"):
        shop.write("repomd.xml", content)
        shop.scan()
    assert [former.sha256 for _, former in formers(shop)] == [sha256(b"two")]


def test_former_contents_are_few_and_young(shop: Workshop) -> None:
    start_s = 1_760_000_000
    for number in range(MAX_FORMERS + 4):
        shop.write("repomd.xml", b"%d" % number)
        shop.scan(clock=lambda: start_s + number)  # noqa: B023  called at once
    assert len(formers(shop)) == MAX_FORMERS
    shop.write("else", b"x")
    shop.scan(clock=lambda: start_s + (FORMER_DAYS + 1) * DAY_S)
    assert formers(shop) == []


# zsync


@pytest.mark.needs("zsync")
def test_zsync_files_are_the_tools_and_follow_the_content(shop: Workshop) -> None:
    shop.wishes = {"zsync": ("*.iso",)}
    shop.write("d/a b.iso", random.Random(1).randbytes(100_000))
    shop.scan()
    with shop.open() as catalog:
        ((path, control),) = catalog.zsyncs()
    head, _, _ = control.partition(b"\n\n")
    fields = dict(line.split(b": ", 1) for line in head.splitlines())
    assert path == b"d/a b.iso"
    assert (fields[b"Filename"], fields[b"Length"]) == (b"a b.iso", b"100000")
    shop.write("d/a b.iso", b"other")
    shop.scan()
    with shop.open() as catalog:
        ((_, other),) = catalog.zsyncs()
    assert b"Length: 5\n" in other
    shop.wishes = {}
    shop.scan()
    with shop.open() as catalog:
        assert list(catalog.zsyncs()) == []


def test_a_missing_tool_is_one_problem(shop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    shop.wishes = {"zsync": ("*.iso",)}
    shop.write("a.iso")
    shop.write("b.iso")
    report = shop.scan()
    assert [problem.message for problem in report.problems] == [
        "zsyncmake isn't installed (package zsync), so no zsync files are made"
    ]


# trees elsewhere


def test_bodies_of_a_remote_tree_are_fetched_once(elsewhere: RemoteShop) -> None:
    shop = elsewhere
    shop.write("d/a.iso", b"iso")
    shop.write("d/a.iso.asc", b"signature")
    shop.write_sums("d/a.iso")
    shop.scan()
    kept = bodies(shop)
    assert kept[b"d/a.iso.asc"] == b"signature"
    assert b"d/a.iso" in kept[b"SHA256SUMS"]
    assert shop.files[b"d/a.iso.asc"].sha256 == sha256(b"signature")
    with shop.open() as catalog:
        before = catalog.beside
    assert not shop.scan().is_changed
    with shop.open() as catalog:
        assert catalog.beside == before
    shop.write("d/a.iso.asc", b"another one, longer")
    shop.scan()
    assert bodies(shop)[b"d/a.iso.asc"] == b"another one, longer"


# what a review found


def test_many_patterns_of_torrents_are_no_trouble(shop: Workshop) -> None:
    shop.wishes = {"torrents": tuple(f"releases/edition-{n}/*.iso" for n in range(20))}
    shop.write("releases/edition-3/a.iso", b"iso")
    shop.scan()
    assert details(shop)[b"releases/edition-3/a.iso"].has_torrent
    assert shop.scan().hashed_files == 0


@pytest.mark.parametrize("names", [("a.bin", "b.iso"), ("b.iso", "c.bin")])
def test_a_hard_link_has_the_torrent_that_its_name_wants(
    shop: Workshop, names: tuple[str, str]
) -> None:
    shop.wishes = {"torrents": ("*.iso",)}
    (shop.root / names[1]).hardlink_to(shop.write(names[0], b"content"))
    shop.scan()
    assert details(shop)[b"b.iso"].has_torrent
    assert shop.scan().hashed_files == 0


@pytest.mark.needs("zsync")
@pytest.mark.parametrize("name", ["a.gz", "a b#c%.gz"])
def test_a_packed_file_and_an_odd_name_have_zsync_files(shop: Workshop, name: str) -> None:
    shop.wishes = {"zsync": ("*.gz",)}
    shop.write(name, gzip.compress(bytes(50_000)))
    report = shop.scan()
    assert report.problem_count == 0
    with shop.open() as catalog:
        ((_, control),) = catalog.zsyncs()
    fields = dict(line.split(b": ", 1) for line in control.partition(b"\n\n")[0].splitlines())
    assert fields[b"URL"] == quote(name).encode()
    assert int(fields[b"Length"]) == (shop.root / name).stat().st_size


@pytest.mark.needs("zsync")
def test_a_tool_that_is_installed_later_is_used_by_the_next_scan(
    shop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.wishes = {"zsync": ("*.iso",)}
    shop.write("a.iso")
    with monkeypatch.context() as without:
        without.setenv("PATH", "")
        assert shop.scan().problem_count == 1
    assert shop.scan().problem_count == 0
    with shop.open() as catalog:
        assert [path for path, _ in catalog.zsyncs()] == [b"a.iso"]


@pytest.mark.parametrize("elsewhere", KINDS[:2], indirect=True)
def test_a_carried_name_of_another_file_is_fetched_once(elsewhere: RemoteShop) -> None:
    shop = elsewhere
    shop.write("x.dat", b"signature")
    (shop.root / "x.asc").symlink_to("x.dat")
    shop.scan()
    assert bodies(shop) == {b"x.asc": b"signature"}
    with shop.open() as catalog:
        before = (catalog.version, catalog.beside)
    shop.scan()
    with shop.open() as catalog:
        assert (catalog.version, catalog.beside) == before
