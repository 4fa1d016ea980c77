"""Fuzz targets of what clients ask an edge for beside a redirect, and of records in a state."""

from __future__ import annotations

import contextlib
import tempfile
import xml.etree.ElementTree as ET
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from heliostat.edge.answers import Answer
from heliostat.edge.handler import Handler
from heliostat.edge.request import Fields
from heliostat.model.extras import Former
from heliostat.model.tree import AliasRule, Moved, Removed, Repository, Tree
from heliostat.state.compile import compile_state
from heliostat.state.errors import DamagedStateError
from heliostat.state.opened import open_state
from heliostat.state.records import Records, unpack, write_records
from heliostat.state.store import StateStore
from tests.support.extras import MadeExtras
from tests.support.worlds import AMERICA, AT_S, GERMANY, known_world, make_catalog, make_mirror

ALLOWED_STATUS = (200, 301, 302, 304, 400, 404, 405, 410, 503)
CONTENTS = {
    b"r/1/a-1.iso": b"one",
    b"r/2/a-2.iso": b"two",
    b"r/2/a-2.iso.asc": b"signature",
    b"x/repodata/repomd.xml": b"<new/>",
    b'odd/<&">\xff\n.txt': b"odd",
}
TREE = Tree(
    "t",
    "/srv/t",
    publisher="<P>",
    sums=("sha256",),
    torrents=("*.iso",),
    repositories=(Repository("x", "{arch}/"),),
    aliases=(AliasRule("latest/{name}.iso", "r/{version}/{name}-{version}.iso"),),
    moved=(Moved("old/{rest}", "r/{rest}"),),
    removed=(Removed("gone/**", "r/2/a-2.iso", "<gone>"),),
)
SEEDS = [
    b"r/2/a-2.iso.meta4\n*/*\n",
    b"r/2/a-2.iso\napplication/metalink4+xml;q=0.5, */*;q=0.1\n",
    b"r/2/a-2.iso.torrent",
    b"r/2/a-2.iso?mirrorlist\ntext/html",
    b"r/2/a-2.iso.mirrorlist\napplication/json",
    b"r/2/a-2.iso?magnet",
    b'r/2/a-2.iso.asc\n\n"x", *',
    b"r/2/?after=a\ntext/html\n",
    b"odd/\ntext/html",
    b"r/2/SHA256SUMS",
    b"latest/a.iso.sha256",
    b"old/2/a-2.iso",
    b"gone/x\ntext/html",
    b"none/%3Cx%3E\ntext/html",
    b"mirrorlist?repo=x&arch=x&country=de,global&protocol=http&time=1",
    b"mirrorlist?path=r/&format=apt&type=deb&ip=198.51.100.1&redirect=1",
    b"metalink?path=x/repodata/repomd.xml&country=us",
]


@cache
def _handler() -> Handler:
    store = StateStore(Path(tempfile.mkdtemp(prefix="heliostat-fuzz-")))
    mirrors = [make_mirror("de.example", GERMANY), make_mirror("us.example", AMERICA)]
    former = Former(3, AT_S, AT_S, bytes(32))
    extras = MadeExtras(
        CONTENTS,
        bodies=frozenset({b"r/2/a-2.iso.asc"}),
        formers=[(b"x/repodata/repomd.xml", former)],
    )
    known = known_world(make_catalog(CONTENTS), mirrors, tree=TREE, extras=extras)
    manifest, _ = compile_state(known, store, datetime(2026, 11, 23, tzinfo=UTC))
    handler = Handler(["127.0.0.0/8"])
    handler.use(open_state(store, manifest))
    return handler


def settled(answer: Answer) -> Answer:
    """The answer, also where a thread is to make it."""
    return answer.work() if answer.work else answer


def forms(data: bytes) -> None:
    """A target, an Accept and a validator, a line each, over files that have every form."""
    path, _, rest = data.partition(b"\n")
    accept, _, tag = rest.partition(b"\n")
    handler = _handler()
    fields = Fields(accept=accept, if_none_match=tag, if_modified_since=tag)
    peer = handler.peer("127.0.0.1", False)
    answer = settled(handler.answer(b"GET", b"/" + path, fields, peer))
    assert int(answer.head[9:12]) in ALLOWED_STATUS
    assert answer.head.endswith(b"\r\n")
    assert b"\r\n\r\n" not in answer.head, "a header field ended the head"
    assert answer.head.count(b"\n") == answer.head.count(b"\r\n")
    if b"text/html" in answer.head:
        assert b"<script" not in answer.body.lower()
    if b"+xml" in answer.head and answer.body:
        ET.fromstring(answer.body)


def records(data: bytes) -> None:
    """A file of records of a state, and one record."""
    with contextlib.suppress(DamagedStateError):
        unpack(data)
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        with contextlib.suppress(DamagedStateError):
            opened = Records(Path(file.name))
            for row in range(4):
                assert len(opened.get(row) or b"") <= len(data)


RECORD_SEEDS = [
    write_records({}),
    write_records({0: b"\x01\x02\x00\x00\x00ab", 3: b"x"}),
    b"\x04\x20\x00\x00\x00" + bytes(32),
]
