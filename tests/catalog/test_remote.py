"""Trees whose bytes aren't here: listed from real servers, their digests from checksum files."""

from __future__ import annotations

import gzip
import hashlib
import os
import random
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from heliostat.catalog import EmptyTreeError, load_table, scan
from heliostat.catalog.errors import (
    ScanStoppedError,
    ShrunkTreeError,
    SourceError,
    TreeRootError,
)
from heliostat.catalog.scans import check_root
from heliostat.demo.servers import NginxServer, free_port
from heliostat.model.catalog import PIECE_BYTES
from heliostat.model.errors import EXIT_REFUSED
from heliostat.model.tree import Tree
from tests.catalog.helpers import sha256
from tests.catalog.remote_shop import KINDS, RemoteShop, remote_shop

PAST_S = 1_700_000_000


@pytest.fixture(params=KINDS)
def shop(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[RemoteShop]:
    with remote_shop(request.param, tmp_path, monkeypatch) as shop:
        yield shop


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RemoteShop]:
    """A tree behind nginx."""
    with remote_shop("web", tmp_path, monkeypatch) as shop:
        yield shop


def age(path: Path, by_s: int = 0) -> None:
    os.utime(path, (PAST_S + by_s, PAST_S + by_s))


def test_a_remote_tree_is_in_the_catalog_with_sizes_and_claimed_digests(shop: RemoteShop) -> None:
    big = random.Random(1).randbytes(PIECE_BYTES + 5)
    shop.write("iso/big.iso", big)
    shop.write("iso/a b+c&d.iso", b"odd name")
    shop.write("unknown.txt", b"1234")
    shop.write_sums("iso/big.iso", "iso/a b+c&d.iso")
    report = shop.scan()
    assert (report.version, report.added, report.problem_count) == (1, 4, 0)
    assert report.without_digest == 1
    files = shop.files
    assert files[b"iso/big.iso"].size_bytes == len(big)
    assert files[b"iso/big.iso"].sha256 == sha256(big)
    assert files[b"iso/a b+c&d.iso"].sha256 == sha256(b"odd name")
    assert files[b"unknown.txt"].size_bytes == 4
    assert files[b"unknown.txt"].sha256 is None
    assert files[b"SHA256SUMS"].sha256 == sha256((shop.root / "SHA256SUMS").read_bytes())
    assert shop.pieces(b"iso/big.iso") == b""
    assert shop.pieces(b"iso/a b+c&d.iso") == sha256(b"odd name")
    assert list(shop.table.has_sha256) == [True, True, True, False]


def test_an_unchanged_remote_tree_keeps_its_version_and_digests(shop: RemoteShop) -> None:
    shop.write("a.iso", b"x" * 50)
    shop.write_sums("a.iso")
    shop.scan()
    before = shop.files
    report = shop.scan()
    assert (report.version, report.is_changed) == (1, False)
    assert shop.files == before


def test_a_changed_file_gets_its_digest_read_anew_and_what_is_gone_goes(shop: RemoteShop) -> None:
    for name in ("changes", "stays", "goes"):
        shop.write(f"d/{name}", name.encode())
    shop.write_sums("d/changes", "d/stays", "d/goes")
    shop.scan()
    before = shop.files
    (shop.root / "d" / "goes").unlink()
    shop.write("d/changes", b"other, and longer")
    shop.write_sums("d/changes", "d/stays")
    report = shop.scan()
    assert (report.version, report.removed, report.added) == (2, 1, 0)
    after = shop.files
    assert after[b"d/changes"].sha256 == sha256(b"other, and longer")
    assert after[b"d/changes"].file_id == before[b"d/changes"].file_id
    assert after[b"d/stays"] == before[b"d/stays"]
    changed_in = dict(zip(shop.table.paths, shop.table.changed_in, strict=True))
    assert (changed_in[b"d/changes"], changed_in[b"d/stays"]) == (2, 1)


def test_a_changed_file_that_its_checksum_file_does_not_follow_has_no_digest(
    site: RemoteShop,
) -> None:
    age(site.write("a.iso", b"first"))
    age(site.write_sums("a.iso"))
    site.scan()
    assert site.files[b"a.iso"].sha256 == sha256(b"first")
    age(site.write("a.iso", b"other"), 7200)
    site.scan()
    assert site.files[b"a.iso"].sha256 is None
    age(site.write_sums("a.iso"), 7300)
    site.scan()
    assert site.files[b"a.iso"].sha256 == sha256(b"other")


def test_a_tree_that_is_empty_or_shrinks_is_refused(shop: RemoteShop) -> None:
    for number in range(30):
        shop.write(f"f{number}", b"x")
    shop.scan()
    for number in range(10):
        (shop.root / f"f{number}").unlink()
    with pytest.raises(ShrunkTreeError, match=r"10 of 30 files are gone.*--allow-shrink") as caught:
        shop.scan()
    assert caught.value.exit_code == EXIT_REFUSED
    assert len(shop.table) == 30
    assert shop.scan(allow_shrink=True).removed == 10
    for path in shop.root.iterdir():
        path.unlink()
    with pytest.raises(EmptyTreeError):
        shop.scan()
    assert len(shop.table) == 20


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("rsync://127.0.0.1:{port}/m/", "rsync"),
        ("http://127.0.0.1:{port}/", "can't connect"),
        ("s3://bucket/pub", "error"),
    ],
)
def test_a_source_that_nobody_serves_is_an_error_with_a_sentence(
    tmp_path: Path, url: str, why: str
) -> None:
    port = free_port()
    shop = RemoteShop(tmp_path, tmp_path / "data", url=url.format(port=port))
    shop.settings = shop.settings.model_copy(update={"timeout_s": 1.0})
    shop.options = {"s3_endpoint": f"http://127.0.0.1:{port}/"}
    with pytest.raises(SourceError, match=why) as caught:
        shop.scan()
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith("the catalog is as it was")
    assert load_table(tmp_path / "data", "t") is None


@pytest.mark.needs("nginx")
def test_a_listing_that_breaks_off_leaves_the_catalog_as_it_was(site: RemoteShop) -> None:
    rng = random.Random(4)
    lines = "".join(f"5 {PAST_S} {rng.randbytes(9).hex()}\n" for _ in range(5000))
    content = gzip.compress(lines.encode())
    site.write("list.gz", content)
    site.options = {"file_list": "list.gz", "checksum_files": False}
    assert site.scan().files == 5000
    site.write("list.gz", content[: len(content) * 9 // 10])
    with pytest.raises(SourceError, match=r"list\.gz: can't be unpacked.*as it was"):
        site.scan()
    assert len(site.table) == 5000


@pytest.mark.needs("rsync")
def test_ssh_asks_nobody_anything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with remote_shop("ssh", tmp_path, monkeypatch) as shop:
        shop.write("a")
        shop.scan()
        log = (tmp_path / "bin" / "ssh.log").read_text()
    assert log.startswith("-oBatchMode=yes -oConnectTimeout=5 ")
    assert "-l mirror host.example rsync --server" in log


@pytest.mark.needs("rsync")
@pytest.mark.parametrize("kind", ["ssh"])
def test_symlinks_of_a_listing_are_other_names(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with remote_shop(kind, tmp_path, monkeypatch) as shop:
        shop.write("41/x/a.iso", b"a")
        shop.write("41/b.iso", b"b")
        (shop.root / "latest").symlink_to("41")
        (shop.root / "a.iso").symlink_to("latest-a")
        (shop.root / "latest-a").symlink_to("41/x/a.iso")
        (shop.root / "out").symlink_to("../data")
        (shop.root / "nothing").symlink_to("none")
        (shop.root / "41" / "up").symlink_to("..")
        (shop.root / "loop").symlink_to("loop")
        report = shop.scan()
        assert shop.aliases == {
            b"latest/x/a.iso": b"41/x/a.iso",
            b"latest/b.iso": b"41/b.iso",
            b"a.iso": b"41/x/a.iso",
            b"latest-a": b"41/x/a.iso",
        }
        told = {problem.path: str(problem.kind) for problem in report.problems}
        assert told == {
            b"out": "link-out",
            b"nothing": "link-dangling",
            b"41/up": "link-loop",
            b"loop": "link-loop",
        }
        assert not shop.scan().is_changed


@pytest.mark.needs("nginx")
@pytest.mark.parametrize("form", ["find", "paths", "packed"])
def test_a_plain_list_is_read_instead_of_the_index(site: RemoteShop, form: str) -> None:
    age(site.write("d/a.iso", b"12345"))
    age(site.write("b.iso", b"1"))
    site.write("not-listed", b"1")
    found = f"5 {PAST_S}.5 d/a.iso\n1 {PAST_S} b.iso\n".encode()
    content = {"find": found, "paths": b"d/a.iso\n./b.iso\n", "packed": gzip.compress(found)}
    name = "list.gz" if form == "packed" else "list.txt"
    site.write(name, content[form])
    site.options = {"file_list": name}
    site.scan()
    sizes = {file.path: (file.size_bytes, file.mtime_s) for file in site.files.values()}
    assert sizes == {b"d/a.iso": (5, PAST_S), b"b.iso": (1, PAST_S)}
    assert not site.scan().is_changed
    age(site.write("b.iso", b"22"), 60)
    site.write(name, {**content, "find": found.replace(b"1 17", b"2 17")}[form])
    site.scan()
    if form != "packed":
        assert site.files[b"b.iso"].size_bytes == 2


def test_sizes_that_an_index_rounds_are_asked_for_once(tmp_path: Path) -> None:
    root = tmp_path / "tree"
    root.mkdir()
    shop = RemoteShop(root, tmp_path / "data")
    size = 1_234_567
    age(shop.write("a.iso", b"x" * size))
    rounded = NginxServer(
        root, "127.0.0.1", free_port(), tmp_path / "nginx", "autoindex_exact_size off;"
    )
    with rounded:
        shop.url = rounded.url
        shop.scan()
        assert shop.files[b"a.iso"].size_bytes == size
        assert shop.files[b"a.iso"].mtime_s == PAST_S
        assert not shop.scan().is_changed
        age(shop.write("a.iso", b"y" * (size + 1)), 120)
        assert shop.scan().changed == 1
        assert shop.files[b"a.iso"].size_bytes == size + 1


@pytest.mark.needs("nginx")
def test_a_debian_archive_gives_the_digests_of_its_packages(site: RemoteShop) -> None:
    deb = b"a package"
    site.write("pool/h/hello.deb", deb)
    packages = f"Filename: pool/h/hello.deb\nSize: 9\nSHA256: {sha256(deb).hex()}\n".encode()
    index = gzip.compress(packages)
    site.write("dists/s/main/binary-amd64/Packages.gz", index)
    site.write("dists/s/main/binary-amd64/Packages", packages)
    release = f"SHA256:\n {sha256(index).hex()} {len(index)} main/binary-amd64/Packages.gz\n"
    site.write("dists/s/Release", release.encode())
    report = site.scan()
    assert report.problem_count == 0
    assert site.files[b"pool/h/hello.deb"].sha256 == sha256(deb)
    assert report.without_digest == 1  # the unpacked Packages, which Release doesn't name
    # an index that isn't the one that Release names (an upload half done) is not believed
    site.write("pool/h/other.deb", deb)
    lie = packages + b"\n" + packages.replace(b"hello", b"other")
    site.write("dists/s/main/binary-amd64/Packages.gz", gzip.compress(lie))
    report = site.scan()
    assert [str(problem.kind) for problem in report.problems] == ["checksum-file"]
    assert site.files[b"pool/h/other.deb"].sha256 is None
    assert site.files[b"pool/h/hello.deb"].sha256 == sha256(deb)


@pytest.mark.needs("nginx")
def test_an_rpm_repository_gives_the_digests_of_its_packages(site: RemoteShop) -> None:
    rpm = b"an rpm"
    site.write("os/Packages/a.rpm", rpm)
    primary = gzip.compress(
        b'<metadata><package><checksum type="sha256">%s</checksum><size package="6"/>'
        b'<location href="Packages/a.rpm"/></package></metadata>' % sha256(rpm).hex().encode()
    )
    old = gzip.compress(gzip.decompress(primary).replace(sha256(rpm).hex().encode(), b"ab" * 32))
    name = f"os/repodata/{sha256(primary).hex()}-primary.xml.gz"
    site.write(name, primary)
    site.write(f"os/repodata/{sha256(old).hex()}-primary.xml.gz", old)
    site.write(
        "os/repodata/repomd.xml",
        b'<repomd><data type="primary"><checksum type="sha256">%s</checksum><location href="%s"/>'
        b"<size>%d</size></data></repomd>"
        % (sha256(primary).hex().encode(), name.removeprefix("os/").encode(), len(primary)),
    )
    report = site.scan()
    assert report.problem_count == 0
    assert site.files[b"os/Packages/a.rpm"].sha256 == sha256(rpm)
    assert site.files[name.encode()].sha256 == sha256(primary)


@pytest.mark.needs("nginx")
def test_other_digests_and_disputes_are_kept_and_told(site: RemoteShop) -> None:
    site.write("a", b"content")
    site.write("b", b"content")
    digest = hashlib.sha512(b"content").hexdigest()
    site.write("SHA512SUMS", f"{digest}  a\n{digest}  b\n".encode())
    site.write("b.sha256", sha256(b"content").hex().encode())
    site.write("SHA256SUMS", sha256(b"another").hex().encode() + b"  b\n")
    report = site.scan()
    with site.open() as catalog:
        found = catalog.digests(site.files[b"a"].file_id)
    assert found == {"sha512": bytes.fromhex(digest)}
    assert site.files[b"b"].sha256 is None
    assert [problem.path for problem in report.problems] == [b"b"]
    assert "two checksum files" in report.problems[0].message


@pytest.mark.needs("nginx")
def test_checksum_files_are_left_alone_where_the_tree_says_so(site: RemoteShop) -> None:
    site.write("a", b"content")
    site.write_sums("a")
    site.options = {"checksum_files": False}
    assert site.scan().without_digest == 2


@pytest.mark.needs("nginx")
def test_a_damaged_checksum_file_is_told_and_read_again_when_it_is_mended(
    site: RemoteShop,
) -> None:
    site.write("p/x.deb", b"deb")
    index = gzip.compress(f"Filename: x.deb\nSize: 3\nSHA256: {sha256(b'deb').hex()}\n".encode())
    age(site.write("p/Packages.gz", index[:-9]))
    report = site.scan()
    assert [problem.path for problem in report.problems] == [b"p/Packages.gz"]
    assert site.files[b"p/x.deb"].sha256 is None
    assert site.scan().problem_count == 1
    age(site.write("p/Packages.gz", index), 60)
    assert site.scan().problem_count == 0
    assert site.files[b"p/x.deb"].sha256 == sha256(b"deb")


@pytest.mark.needs("nginx")
def test_a_tree_that_moves_here_and_away_keeps_its_ids_and_digests(site: RemoteShop) -> None:
    content = random.Random(3).randbytes(2 * PIECE_BYTES)
    site.write("big", content)
    site.write_sums("big")
    scan(Tree("t", str(site.root)), site.data_dir)
    before = site.files
    pieces = site.pieces(b"big")
    site.scan()
    assert site.pieces(b"big") == pieces
    scan(Tree("t", str(site.root)), site.data_dir)
    assert site.files == before
    assert (site.table.changed_in == 1).all()


@pytest.mark.needs("nginx")
def test_a_stopped_scan_changes_nothing(site: RemoteShop) -> None:
    site.write("a")
    stop = threading.Event()
    stop.set()
    with pytest.raises(ScanStoppedError):
        site.scan(stop=stop)
    assert load_table(site.data_dir, "t") is None


@pytest.mark.parametrize(
    "root", ["ftp://h/x", "s3://", "-oProxyCommand=x:/y", "host:relative", "http://a b/", "x://y"]
)
def test_roots_that_can_not_be_read_are_refused(root: str) -> None:
    with pytest.raises(TreeRootError):
        check_root(root)
