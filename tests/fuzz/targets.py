"""The fuzz targets: one for each parser that reads what somebody else wrote.

Each takes any bytes and promises: an answer or a clean close, a value or the parser's own error,
never another exception; and no Location outside the state's endpoints.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import hashlib
import io
import ipaddress
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from heliostat.catalog.checksums import ChecksumFileError, kind_of, read_claims
from heliostat.config.errors import ConfigError
from heliostat.config.toml import read_toml
from heliostat.edge.clients import ClientMemory, TrustedProxies
from heliostat.edge.counts.block import decode
from heliostat.edge.counts.entries import unpack_entries
from heliostat.edge.counts.errors import BadFrameError, DamagedBlockError, DamagedSegmentError
from heliostat.edge.counts.frame import pack, unpack
from heliostat.edge.counts.segment import blocks_of, read_identity, record
from heliostat.edge.handler import Handler
from heliostat.edge.request import Fields
from heliostat.edge.target import BadTargetError, split_target
from heliostat.edge.tls import not_after_s
from heliostat.edge.watch.client import Exchange, NoHttpError
from heliostat.listing.entries import ListingError, ListingLimitError, clean_path
from heliostat.listing.ftp_lines import parse_list, parse_mlsd
from heliostat.listing.index_page import IndexPageParser
from heliostat.listing.plain_list import PlainListParser
from heliostat.listing.rsync_listing import ListingParser
from heliostat.state.documents import (
    MirrorsDocument,
    NamesDocument,
    NoticeDocument,
    ShardsDocument,
    TreesDocument,
    parse,
)
from heliostat.state.errors import DamagedStateError
from heliostat.state.manifest import parse_manifest, parse_version
from tests.fuzz import forms, offers
from tests.support.wire import check, small_handler, talk
from tests.support.worlds import small_zones

CUT = b"\xff\xfe"
"""In an input of the target "http" this ends one packet and begins the next."""

PLAIN = b"GET /a HTTP/1.1\r\nHost: t\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Target:
    """`run` raises for what must never happen; `seeds` are inputs to begin with."""

    run: Callable[[bytes], None]
    seeds: Sequence[bytes]


@cache
def _handler() -> Handler:
    return small_handler(Path(tempfile.mkdtemp(prefix="heliostat-fuzz-")))


def http(data: bytes) -> None:
    """A connection of a stranger, and one of a trusted proxy; then the edge is asked as ever."""
    handler = _handler()
    handler.tick(0.0)
    for address in ("192.0.2.7", "127.0.0.1"):
        check(talk(handler, [chunk for chunk in data.split(CUT) if chunk], address))
    wire = talk(handler, [PLAIN])
    check(wire)
    assert wire.out.startswith(b"HTTP/1.1 302 "), "the edge no longer answers others"


def target(data: bytes) -> None:
    try:
        path, _ = split_target(data)
    except BadTargetError:
        return
    assert b"\0" not in path
    assert not {b".", b".."} & set(path.split(b"/"))
    peer = _handler().peer("192.0.2.7", False)
    answer = forms.settled(_handler().answer(b"GET", data, Fields(), peer))
    assert int(answer.head[9:12]) in forms.ALLOWED_STATUS


def forwarded_for(data: bytes) -> None:
    client = ClientMemory(small_zones(), TrustedProxies(["127.0.0.0/8", "::1/128"])).forwarded(data)
    if client is not None:
        assert not ipaddress.ip_address(client.address).is_loopback
        assert 0 <= client.network < 1 << 48


def explain(data: bytes) -> None:
    handler = _handler()
    handler.tick(0.0)
    peer = handler.peer("192.0.2.7", False)
    answer = handler.answer(b"GET", b"/-/explain/a?" + data, Fields(accept=b"text/html"), peer)
    assert int(answer.head[9:12]) in forms.ALLOWED_STATUS
    assert b"<script" not in answer.body.lower()


def manifest(data: bytes) -> None:
    with contextlib.suppress(DamagedStateError):
        parse_manifest(data, Path("targets.json"))
    with contextlib.suppress(DamagedStateError):
        assert parse_version(data, "timestamp.json") >= 0


def documents(data: bytes) -> None:
    for form in (MirrorsDocument, TreesDocument, ShardsDocument, NamesDocument, NoticeDocument):
        try:
            parse(form, data, "document")
        except DamagedStateError:
            continue


def counts(data: bytes) -> None:
    """What stands on a worker's socket and in the spool."""
    with contextlib.suppress(BadFrameError):
        unpack(data)
    with contextlib.suppress(BadFrameError):
        unpack_entries(data)
    with contextlib.suppress(DamagedBlockError):
        for download in decode(data):
            assert download.downloads >= 0


def mirror_answer(data: bytes) -> None:
    """What a mirror says to the watch."""

    async def read() -> None:
        exchange = Exchange(b"", asyncio.get_running_loop())
        exchange.data_received(data[: len(data) // 2])
        exchange.data_received(data[len(data) // 2 :])
        exchange.connection_lost(None)
        with contextlib.suppress(NoHttpError):
            assert (await exchange.answer).status >= 200

    asyncio.run(read())


def certificate(data: bytes) -> None:
    with contextlib.suppress(ValueError):
        not_after_s(data)


def rsync_listing(data: bytes) -> None:
    parser = ListingParser()
    half = len(data) // 2
    try:
        for entry in (*parser.feed(data[:half]), *parser.feed(data[half:]), *parser.finish()):
            assert entry.size_bytes >= 0
    except ListingLimitError:
        pass


def index_page(data: bytes) -> None:
    parser = IndexPageParser("http://h.example/a%20b/")
    half = len(data) // 2
    with contextlib.suppress(ListingLimitError):
        for entry in (*parser.feed(data[:half]), *parser.feed(data[half:]), *parser.finish()):
            assert is_name_of_folder(entry.name)
            assert -1 <= entry.low_bytes <= entry.high_bytes


def ftp_line(data: bytes) -> None:
    for read in (parse_mlsd, parse_list):
        found = read(data)
        if found is not None and found.file is not None:
            assert is_name_of_folder(found.file.name)
        if found is not None and found.folder is not None:
            assert is_name_of_folder(found.folder)


def plain_list(data: bytes) -> None:
    parser = PlainListParser()
    half = len(data) // 2
    with contextlib.suppress(ListingError):
        for entry in (*parser.feed(data[:half]), *parser.feed(data[half:]), *parser.finish()):
            assert clean_path(entry.path) == entry.path


def checksum_file(data: bytes) -> None:
    """What stands beside the files of a tree that isn't here: its first line is its name."""
    path, _, content = data.partition(b"\n")
    kind = kind_of(path)
    if kind is None or clean_path(path) != path:
        return
    with contextlib.suppress(ChecksumFileError):
        for claims in read_claims(io.BytesIO(content), path, kind):
            for claim in claims:
                assert clean_path(claim.path) == claim.path
                assert hashlib.new(claim.algorithm).digest_size == len(claim.digest)


def is_name_of_folder(name: bytes) -> bool:
    return name not in (b"", b".", b"..") and b"/" not in name and b"\0" not in name


def segment(data: bytes) -> None:
    """What a node sends as counts: blocks, or the parser's own error; also with right checksums."""
    for body in (data, record(data)):
        handle = io.BytesIO(b"HELIOSP1" + bytes(16) + body)
        assert read_identity(handle) == bytes(16)
        with contextlib.suppress(DamagedSegmentError):
            for block in blocks_of(handle, "fuzz"):
                assert sum(1 for _ in block) == len(block.counts)


def toml(data: bytes) -> None:
    with tempfile.NamedTemporaryFile(prefix="heliostat-fuzz-", suffix=".toml") as file:
        file.write(data)
        file.flush()
        with contextlib.suppress(ConfigError):
            read_toml(Path(file.name))


TARGETS = {
    "forms": Target(forms.forms, forms.SEEDS),
    "records": Target(forms.records, forms.RECORD_SEEDS),
    "http": Target(
        http,
        [
            PLAIN,
            PLAIN + PLAIN,
            b"GET /a HTT" + CUT + b"P/1.1\r\nHost: t\r\nUser-Agent: x\r\n" + CUT + b"\r\n",
            b"HEAD /b/c%20d HTTP/1.0\r\n\r\n",
            b"POST /a HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"3\r\nabc\r\n0\r\n\r\n",
            b"GET /a HTTP/1.1\r\nHost: t\r\nContent-Length: 3\r\n\r\nabc" + PLAIN,
            b"GET /a HTTP/1.1\r\nHost: t\r\nX-Forwarded-For: 198.51.100.7\r\n"
            b"X-Forwarded-Proto: https\r\nRange: bytes=5-\r\nConnection: close\r\n\r\n",
            b"GET /-/explain/a?ip=203.0.113.1 HTTP/1.1\r\nHost: t\r\nAccept: text/html\r\n\r\n",
            b"GET http://x/a HTTP/1.1\r\nHost: t\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        ],
    ),
    "target": Target(target, [b"/a", b"/b/c%20d?x=1", b"http://h/a", b"//a/./../%2e%2e", b"*"]),
    "forwarded_for": Target(
        forwarded_for, [b"198.51.100.7", b"[2001:db8::1]:80, 127.0.0.1", b"::ffff:192.0.2.1:5"]
    ),
    "explain": Target(explain, [b"ip=203.0.113.1&scheme=https", b"ip=%00&&=&scheme", b"ip=::1"]),
    "manifest": Target(
        manifest,
        [
            b'{"signed": {"version": 1, "targets": {"x": {"length": 1,'
            b' "hashes": {"sha256": "00"}}}, "heliostat": {"format": 2, "counts": {}, "fence": 0,'
            b' "published_at": "2026-01-01T00:00:00+00:00"}}}',
            b'{"signed": {"meta": {"snapshot.json": {"version": 1, "length": 2,'
            b' "hashes": {"sha256": "00"}}}}}',
        ],
    ),
    "offer": Target(offers.offer, offers.seeds()),
    "documents": Target(
        documents,
        [
            b'{"networks": [], "mirrors": []}',
            b'{"trees": [{"name": "t", "prefix": "/", "fallback": [], "origin": ""}]}',
            b'{"filesets": ["0f"], "shards": []}',
        ],
    ),
    "counts": Target(
        counts,
        [
            pack({"state": 1, "minute": 2, "n": 1, "m": 0, "r": 0}, [b"\1\0\0\0", b"\2\0\0\0"]),
            b'[0, [[1.5, "192.0.2.1", "GET", "/a", "1.1", 302, "m", "", "curl"]]]',
        ],
    ),
    "mirror_answer": Target(
        mirror_answer,
        [
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
            b"HTTP/1.1 301 Moved\r\nLocation: https://x/\r\nTransfer-Encoding: chunked\r\n\r\n",
        ],
    ),
    "certificate": Target(certificate, [b"\x30\x0e\x30\x0c\x02\x01\x01\x30\x00\x30\x00\x30\x00"]),
    "rsync_listing": Target(
        rsync_listing,
        [
            b"drwxr-xr-x        4096 2026/11/22 18:33:00 .\n"
            b"-rw-r--r--           5 2026/11/22 18:33:00 a\\#012b\n"
            b"lrwxrwxrwx           5 2026/11/22 18:33:00 l -> a\n"
        ],
    ),
    "index_page": Target(
        index_page,
        [
            b'<html><h1>Index of /</h1><pre><a href="x%20y">x y</a> 22-Nov-2026 10:20  12\n',
            b"<title>Index of /</title><td><a href='./d/'>d</a></td><td>2026-11-22 10:20 </td>"
            b"<td> 1.2M</td><a href=//h.example/a%20b/z>z</a>",
            b'>Folder Path<<a href="./x"><svg></svg></a><td data-size="5"><time datetime="'
            b'2026-11-22T10:20:30Z">',
        ],
    ),
    "ftp_line": Target(
        ftp_line,
        [
            b"modify=20261122102030;size=12;type=file; a b",
            b"type=OS.unix=slink:x;modify=20261122102030; l",
            b"-rw-r--r--   1 ftp  ftp   5 Nov 22 10:20 y",
            b"11-22-26  10:20AM       <DIR>          sub",
        ],
    ),
    "plain_list": Target(
        plain_list,
        [
            b"5 1700000000.5 a/b\n",
            b"[Files]\n1700000000\tf\t5\ta/b\n[End]\n",
            b".:\ntotal 4\n-rw-r--r-- 1 u g 5 2026-11-22 10:20 x\n./d:\n",
            b"a/b\nc\n",
        ],
    ),
    "checksum_file": Target(
        checksum_file,
        [
            b"d/SHA256SUMS\n" + b"ab" * 32 + b"  x\nSHA256 (y) = " + b"ab" * 32 + b"\n",
            b"x.iso.sha256\n" + b"ab" * 32,
            b"dists/s/InRelease\nSHA256:\n " + b"ab" * 32 + b" 5 main/Packages\n",
            b"dists/s/Packages\nFilename: a.deb\nSize: 5\nSHA256: " + b"ab" * 32 + b"\n\n",
            b"Packages.gz\n" + gzip.compress(b"Filename: a.deb\nSize: 5\n"),
            b'repodata/repomd.xml\n<r><data><checksum type="sha256">' + b"ab" * 32 + b"</checksum>"
            b'<location href="a"/><size>5</size></data></r>',
        ],
    ),
    "segment": Target(segment, [b"", b"\x28\xb5\x2f\xfd\x20\x05", record(b"x") * 2]),
    "toml": Target(
        toml, [b'data_dir = "x"\n[edge]\nlisten = ["127.0.0.1:80"]\n', b"[[tree]]\na=1"]
    ),
}
