"""A person walks a real edge's pages, link by link: every link leads somewhere, none leads astray.

The tree is full of names that browsers, shells and servers trip over.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime
from urllib.parse import unquote_to_bytes, urljoin, urlsplit

import pytest

from heliostat.model.tree import AliasRule, Removed, Tree
from heliostat.state.compile import compile_state
from heliostat.state.store import StateStore
from tests.edge.pages.reading import every, hrefs, parsed, text
from tests.support.edge import EdgeProcess, Reply
from tests.support.extras import MadeExtras
from tests.support.worlds import AMERICA, GERMANY, JAPAN, known_world, make_catalog, make_mirror

FROM_GERMANY = "198.51.100.7"
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
EDGE_URL = "http://get.example/"
MAX_PAGES = 400

NAMES = [
    b"plain.iso",
    b"<script>alert(1)</script>",
    b"\"'><img src=x onerror=alert(1)>",
    b"a?b#c%20d&amp;e",
    b"C:drive.txt",
    b"javascript:alert(1)",
    b"back\\slash",
    b"\xff\xfe not utf-8",
    b"\xe2\x80\xaegnp.exe",
    b"new\nline\ttab",
    b" spaces ",
    b"$(touch pwned) `id`",
    b"x" * 200,
    "日本語 تحميل".encode(),
]
FOLDERS = [b"", b"releases/", b"odd \"<&>'/", b"\xff\xfe/", b"a?b#c/", b"C:/", b"..../"]
CONTENTS = {
    folder + name: b"%d" % number
    for number, (folder, name) in enumerate((folder, name) for folder in FOLDERS for name in NAMES)
}
CONTENTS[b"releases/big-1.9.iso"] = b"nine"
CONTENTS[b"releases/big-1.10.iso"] = b"ten" * 1000
CONTENTS[b"releases/big-1.10.iso.asc"] = b"signature"
TREE = Tree(
    "t",
    "/srv/t",
    publisher="Rescue & <Co>",
    publisher_url="https://project.example/",
    aliases=(AliasRule("latest/{name}.iso", "releases/{name}-{version}.iso"),),
    removed=(Removed("gone/**", "releases/big-1.10.iso", "Release 0.9 <is> faulty."),),
)


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EdgeProcess]:
    process = EdgeProcess(tmp_path_factory.mktemp("walk"), public_url=EDGE_URL)
    mirrors = [
        make_mirror("de.example", GERMANY),
        make_mirror("jp.example", JAPAN),
        make_mirror("us.example", AMERICA),
    ]
    extras = MadeExtras(CONTENTS, bodies=frozenset({b"releases/big-1.10.iso.asc"}))
    known = known_world(make_catalog(CONTENTS), mirrors, tree=TREE, extras=extras)
    compile_state(known, StateStore(process.state_folder), datetime.now(UTC))
    with process:
        yield process


def _get(edge: EdgeProcess, url: str) -> Reply:
    parts = urlsplit(url)
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    return edge.get(target, X_Forwarded_For=FROM_GERMANY, Accept=BROWSER)


def test_all_files_are_reached_and_no_link_is_dead(edge: EdgeProcess) -> None:
    waiting, seen, redirected, digests = [EDGE_URL], {EDGE_URL}, set(), {}
    pages = 0
    while waiting:
        url = waiting.pop()
        reply = _get(edge, url)
        assert reply.status in (200, 302), (url, reply)
        raw_path = unquote_to_bytes(urlsplit(url).path)[1:]
        if reply.status == 302:
            redirected.add(raw_path)
            continue
        if raw_path.endswith(b".sha256"):
            digests[raw_path.removesuffix(b".sha256")] = reply.body[:65].lstrip(b"\\")[:64]
        if not reply["content-type"].startswith("text/html"):
            continue
        pages += 1
        assert pages < MAX_PAGES
        for href in hrefs(parsed(reply.body.decode())):
            goal = urljoin(url, href).partition("#")[0]
            if goal.startswith(EDGE_URL) and goal not in seen:
                seen.add(goal)
                waiting.append(goal)
    assert set(CONTENTS) - redirected == {b"releases/big-1.10.iso.asc"}  # this the edge has itself
    wanted = {path: hashlib.sha256(content).hexdigest() for path, content in CONTENTS.items()}
    assert {path: digest.decode() for path, digest in digests.items()} == wanted


def test_a_file_page_of_a_real_edge_tells_the_near_mirrors(edge: EdgeProcess) -> None:
    reply = _get(edge, f"{EDGE_URL}releases/big-1.10.iso.mirrorlist")
    document = parsed(reply.body.decode())
    rows = [[text(cell) for cell in row] for row in every(every(document, "tbody")[0], "tr")]
    assert [row[1] for row in rows] == ["de.example", "us.example", "jp.example"]
    assert rows[0][6] == "In your country: nothing is nearer."
    assert "made for tests" in text(every(document, "footer")[0])
    links = hrefs(document)
    assert "/releases/big-1.10.iso.asc" in links
    assert "https://project.example/" in links
    assert hashlib.sha256(CONTENTS[b"releases/big-1.10.iso"]).hexdigest() in text(document)


def test_what_is_missing_or_removed_says_where_to_go_on(edge: EdgeProcess) -> None:
    missing = _get(edge, f"{EDGE_URL}releases/nothing-here")
    assert missing.status == 404
    assert "/releases/" in hrefs(parsed(missing.body.decode()))
    removed = _get(edge, f"{EDGE_URL}gone/rescue-0.9.iso")
    assert removed.status == 410
    document = parsed(removed.body.decode())
    assert "Release 0.9 <is> faulty." in text(document)
    assert hrefs(document) == ["/releases/big-1.10.iso"]
