"""FTP: real vsftpd, and servers that say odd things."""

from __future__ import annotations

import asyncio
import calendar
import os
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliostat.demo.process import free_port
from heliostat.listing import ftp
from heliostat.listing.entries import Entry, ListingError, ListingFault
from heliostat.listing.ftp import walk_ftp
from heliostat.listing.ftp_lines import parse_list, parse_mlsd
from heliostat.listing.pace import Pace
from heliostat.listing.visitor import WholeTree
from tests.listing.ftp_server import FakeFtp, VsftpdServer

TOP = (
    b"type=cdir;modify=20261122102030; .\r\n"
    b"Type=pdir;modify=20261122102030; ..\r\n"
    b"modify=20261122102030;type=dir; sub dir\r\n"
    b"modify=20261122102030;size=12;type=file; a b;c\r\n"
    b"modify=20261122102031.123;size=3;type=OS.unix=slink:../x y; link\r\n"
    b"type=file;size=1;modify=20261122102030; sub/../x\r\n"
)
SUB = b"modify=20261122102032;size=5;type=file; \xff.iso\r\n"
FOLDERS = {b"/": TOP, b"/sub dir": SUB}
NOON_S = calendar.timegm((2026, 11, 22, 10, 20, 30))


async def walk(url: str, *, timeout_s: float = 2, total_s: float = 20) -> list[Entry]:
    found: list[Entry] = []
    parts = urlsplit(url)
    await walk_ftp(
        parts.hostname or "",
        parts.port or 21,
        parts.path.encode(),
        WholeTree(found.extend),
        pace=Pace(100_000, 4),
        timeout_s=timeout_s,
        total_s=total_s,
        shown=url,
    )
    return found


async def fault(server: FakeFtp, **bounds: float) -> ListingError:
    async with server.serving() as url:
        with pytest.raises(ListingError) as caught:
            await walk(url, **bounds)
        assert str(caught.value).startswith(f"{url}: ")
    return caught.value


@pytest.mark.needs("vsftpd")
async def test_vsftpd_lists_every_odd_name(tmp_path: Path) -> None:
    root = tmp_path / "root"
    files = {b"plain": 3, b"sub dir/deep/x -> y": 70_000, b"not \xff utf-8": 6, b"empty": 0}
    for path, size in files.items():
        file = root / os.fsdecode(path)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"x" * size)
    (root / "link").symlink_to("sub dir")
    with VsftpdServer(root, "127.0.0.1", free_port(), tmp_path / "work") as server:
        found = {entry.path: entry for entry in await walk(server.url)}
    assert {p: e.size_bytes for p, e in found.items() if e.kind == b"-"} == files
    assert (found[b"link"].kind, found[b"link"].target) == (b"l", b"sub dir")


async def test_mlsd_gives_sizes_times_and_links() -> None:
    server = FakeFtp(FOLDERS)
    async with server.serving() as url:
        found = await walk(url)
    assert sorted(found) == [
        Entry(b"-", b"a b;c", 12, NOON_S),
        Entry(b"-", b"sub dir/\xff.iso", 5, NOON_S + 2),
        Entry(b"l", b"link", 6, NOON_S + 1, b"../x y"),
    ]
    assert server.commands[-1] == b"QUIT"


async def test_list_in_the_form_of_dos_is_read_where_mlsd_is_unknown() -> None:
    top = b"11-22-26  10:20AM       <DIR>          sub dir\r\n11-22-26  10:20AM  1,234 x.iso\r\n"
    unix = b"total 4\r\n-rw-r--r--   1 ftp  ftp   5 Nov 22 10:20 y\r\n"
    server = FakeFtp({b"/": top, b"/sub dir": unix}, mlsd=False, epsv=False)
    async with server.serving() as url:
        found = await walk(url)
    assert {entry.path: entry.size_bytes for entry in found} == {b"x.iso": 1234, b"sub dir/y": 5}
    assert server.commands.count(b"MLSD") == 1


async def test_data_never_comes_from_another_address() -> None:
    server = FakeFtp(FOLDERS, epsv=False, pasv_address="192,0,2,1")
    async with server.serving() as url:
        assert len(await walk(url)) == 3
    assert server.data_from == ["127.0.0.1", "127.0.0.1"]


@pytest.mark.parametrize("end", [b"426 aborted", b"451 disk error", b"550 no"])
async def test_a_listing_that_the_server_doesnt_call_complete_is_an_error(end: bytes) -> None:
    error = await fault(FakeFtp(FOLDERS, end=end))
    assert error.kind is ListingFault.CUT
    assert "breaks off" in str(error)


@pytest.mark.parametrize(
    ("replies", "kind", "says"),
    [
        ({b"USER": b"530 no anonymous"}, ListingFault.FTP, "530 (no anonymous)"),
        ({b"USER": b"421 too many users"}, ListingFault.BUSY, "too many users"),
        ({b"CWD": b"550 nothing there"}, ListingFault.NO_LISTING, "no such folder"),
        ({b"CWD": b"530 log in"}, ListingFault.FTP, "answers CWD with 530"),
        ({b"EPSV": b"500 ", b"PASV": b"227 (1,2,3)"}, ListingFault.FTP, "answers PASV"),
        ({b"EPSV": b"229 (|||0|)", b"PASV": b"500 x"}, ListingFault.FTP, "answers PASV"),
        ({b"MLSD": b""}, ListingFault.CUT, "ends the connection"),
        ({b"MLSD": b"451 disk"}, ListingFault.FTP, "answers MLSD with 451"),
        ({b"TYPE": b"HTTP/1.1 400"}, ListingFault.PROTOCOL, "speaks no FTP"),
    ],
)
async def test_what_a_server_refuses_is_said(
    replies: dict[bytes, bytes], kind: ListingFault, says: str
) -> None:
    error = await fault(FakeFtp(FOLDERS, replies=replies))
    assert error.kind is kind
    assert says in str(error)


async def test_lines_of_no_known_form_are_an_error_and_no_missing_files() -> None:
    error = await fault(FakeFtp({b"/": b"Volume in drive C\r\n"}, mlsd=False))
    assert error.kind is ListingFault.PROTOCOL
    assert '("Volume in drive C")' in str(error)


async def test_a_server_without_an_end_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "endless line" in str(await fault(FakeFtp({b"/": b"x" * 100_000})))
    assert "endless reply" in str(await fault(FakeFtp({}, greeting=b"220-x\r\n" * 2000)))
    loop = b"type=dir;modify=20261122102030; again\r\n"
    endless = FakeFtp({b"/" + b"/".join([b"again"] * depth): loop for depth in range(80)})
    assert "more than 64 deep" in str(await fault(endless))
    monkeypatch.setattr(ftp, "MAX_LISTING_ENTRIES", 1000)
    bomb = b"".join(b"type=file;size=1; f%d\r\n" % number for number in range(2000))
    assert "more than 1,000 entries" in str(await fault(FakeFtp({b"/": bomb})))


async def test_a_silent_server_is_given_up() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    async with server:
        url = f"ftp://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        with pytest.raises(ListingError, match=r"no answer within 0\.2 s") as caught:
            await walk(url, timeout_s=0.2)
    assert caught.value.kind is ListingFault.TIMEOUT


@given(st.binary(max_size=120))
def test_any_line_gives_a_name_of_its_folder_or_none(line: bytes) -> None:
    for parse in (parse_mlsd, parse_list):
        found = parse(line)
        for name in [found.folder, found.file and found.file.name] if found else []:
            assert name is None or (b"/" not in name and name not in (b"", b".", b".."))
