"""A real edge answers every form of a file, folder and repository, as clients read them."""

from __future__ import annotations

import gzip
import hashlib
import itertools
import json
import random
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pyroaring import BitMap

from heliostat.model.extras import Former
from heliostat.model.tree import (
    AliasAnswer,
    AliasRule,
    Moved,
    Removed,
    Repository,
    Tree,
)
from heliostat.state.compile import compile_state
from heliostat.state.store import StateStore
from tests.support.bencode import decode
from tests.support.edge import EdgeProcess, Reply
from tests.support.extras import MadeExtras, root_of
from tests.support.worlds import (
    AMERICA,
    AT_S,
    GERMANY,
    JAPAN,
    known_world,
    make_catalog,
    make_mirror,
)

FROM_GERMANY = "198.51.100.7"
M4 = "{urn:ietf:params:xml:ns:metalink}"
M3 = "{http://www.metalinker.org/}"
MM0 = "{http://fedorahosted.org/mirrormanager}"

ISO = random.Random(6).randbytes(5 * (1 << 20) // 2)
SIGNATURE = b"-----BEGIN PGP SIGNATURE-----\n\nx<&>y\n-----END PGP SIGNATURE-----\n"
OLD_REPOMD = b"<old/>"
CONTENTS = {
    b"iso/big-1.10.iso": ISO,
    b"iso/big-1.10.iso.asc": SIGNATURE,
    b"iso/big-1.9.iso": b"nine",
    b"iso/SHA256SUMS": b"the tree's own\n",
    b"plain/a b&<c>.txt": b"odd name",
    b"plain/empty": b"",
    b"plain/huge.sha256": b"pretend it was too large to carry",
    b"repo/x86_64/repodata/repomd.xml": b"<new/>",
    b"repo/x86_64/a.rpm": b"rpm",
    b"debian/dists/stable/InRelease": b"inrelease",
    b"debian/pool/a.deb": b"deb",
    **{b"many/%04d" % number: b"%d" % number for number in range(2_500)},
}
REPOMD = b"repo/x86_64/repodata/repomd.xml"
TREE = Tree(
    "t",
    "/srv/t",
    publisher='The "Project" & friends',
    publisher_url="https://project.example/",
    torrents=("*",),
    trackers=("https://tracker.example/announce", "udp://two.example:1/announce"),
    sums=("sha256", "md5"),
    origin="http://origin.example/pub/",
    repositories=(Repository("fedora", "repo/{arch}/", ("x86_64",)),),
    aliases=(
        AliasRule("latest/{name}.iso", "iso/{name}-{version}.iso"),
        AliasRule("mirror/{name}.iso", "iso/{name}-{version}.iso", answer=AliasAnswer.MIRROR),
    ),
    moved=(Moved("old/{rest}", "iso/{rest}"), Moved("loop/{rest}", "loop2/{rest}")),
    removed=(Removed("gone/**", "iso/big-1.10.iso", "Release 0.9 <is> gone."),),
)
_agents = itertools.count()


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EdgeProcess]:
    work_dir = tmp_path_factory.mktemp("forms")
    process = EdgeProcess(work_dir, public_url="http://get.example/")
    publish(process.state_folder)
    with process:
        yield process


def publish(folder: Path) -> None:
    catalog = make_catalog(CONTENTS)
    mirrors = [
        make_mirror("de.example", GERMANY),
        make_mirror("jp.example", JAPAN),
        make_mirror("us.example", AMERICA),
    ]
    without = [path for path in CONTENTS if path not in (REPOMD, b"debian/pool/a.deb")]
    former = Former(len(OLD_REPOMD), AT_S - 100, AT_S, hashlib.sha256(OLD_REPOMD).digest())
    extras = MadeExtras(
        CONTENTS,
        bodies=frozenset({b"iso/big-1.10.iso.asc", b"iso/SHA256SUMS", b"plain/empty"}),
        zsyncs={b"iso/big-1.10.iso": b"zsync: 0.6.2\n"},
        formers=[(REPOMD, former)],
    )
    known = known_world(catalog, mirrors, held={"us.example": without}, tree=TREE, extras=extras)
    ids = dict(zip(catalog.paths, map(int, catalog.file_ids), strict=True))
    behind = [
        replace(holding, differing=BitMap([ids[REPOMD]]))
        if holding.mirror == "us.example"
        else holding
        for holding in known.holdings["t"]
    ]
    known = replace(known, holdings={"t": behind})
    compile_state(known, StateStore(folder), datetime.now(UTC))


def get(edge: EdgeProcess, target: str, **fields: str) -> Reply:
    return edge.get(target, X_Forwarded_For=FROM_GERMANY, **fields)


def urls(reply: Reply) -> list[str]:
    return [line for line in reply.body.decode().splitlines() if not line.startswith("#")]


# metalinks


def test_a_metalink_names_mirrors_nearest_first_and_the_origin_last(edge: EdgeProcess) -> None:
    reply = get(edge, "/iso/big-1.10.iso.meta4")
    assert reply.status == 200
    assert reply["content-type"] == "application/metalink4+xml"
    file = ET.fromstring(reply.body).find(f"{M4}file")
    assert file is not None
    assert file.get("name") == "big-1.10.iso"
    found = [(url.text, url.get("priority"), url.get("location")) for url in file.iter(f"{M4}url")]
    path = "iso/big-1.10.iso"
    assert found == [
        (f"http://de.example/pub/{path}", "1", "de"),
        (f"http://us.example/pub/{path}", "2", "us"),
        (f"http://jp.example/pub/{path}", "3", "jp"),
        (f"http://origin.example/pub/{path}", "999999", None),
    ]


def test_a_metalink_has_size_digests_pieces_signature_and_torrent(edge: EdgeProcess) -> None:
    file = ET.fromstring(get(edge, "/iso/big-1.10.iso.meta4").body).find(f"{M4}file")
    assert file is not None
    assert file.findtext(f"{M4}size") == str(len(ISO))
    hashes = {one.get("type"): one.text for one in file.findall(f"{M4}hash")}
    assert hashes["sha-256"] == hashlib.sha256(ISO).hexdigest()
    assert hashes["sha-512"] == hashlib.sha512(ISO).hexdigest()
    pieces = file.find(f"{M4}pieces")
    assert pieces is not None
    assert pieces.attrib == {"length": str(1 << 20), "type": "sha-256"}
    assert [one.text for one in pieces] == [
        hashlib.sha256(ISO[at : at + (1 << 20)]).hexdigest() for at in range(0, len(ISO), 1 << 20)
    ]
    assert (file.findtext(f"{M4}signature") or "").strip() == SIGNATURE.decode().strip()
    torrent = "http://get.example/iso/big-1.10.iso.torrent"
    assert file.findtext(f"{M4}metaurl") == torrent
    publisher = file.find(f"{M4}publisher")
    assert publisher is not None
    assert publisher.get("name") == 'The "Project" & friends'


def test_odd_names_stay_text_and_urls_stay_encoded(edge: EdgeProcess) -> None:
    file = ET.fromstring(get(edge, "/plain/a%20b%26%3Cc%3E.txt.meta4").body).find(f"{M4}file")
    assert file is not None
    assert file.get("name") == "a b&<c>.txt"
    assert file.findtext(f"{M4}url") == "http://de.example/pub/plain/a%20b&%3Cc%3E.txt"


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        ("*/*, application/metalink4+xml", "application/metalink4+xml"),
        ("application/metalink+xml", "application/metalink+xml"),
        ("application/metalink+xml, application/metalink4+xml", "application/metalink4+xml"),
    ],
)
def test_who_accepts_a_metalink_gets_one(edge: EdgeProcess, accept: str, media_type: str) -> None:
    reply = get(edge, "/iso/big-1.10.iso", Accept=accept)
    assert reply.status == 200
    assert reply["content-type"] == media_type
    assert reply["vary"] == "Accept"
    ending = "meta4" if "metalink4" in media_type else "metalink"
    wanted = f'attachment; filename="big-1.10.iso.{ending}"'
    assert reply["content-disposition"] == wanted
    assert b"metaurl" not in reply.body  # aria2 would seed for ever what it was asked to fetch


@pytest.mark.parametrize(
    "accept", ["*/*", "application/metalink4+xml;q=0", "text/html, application/metalink4+xml;q=0.1"]
)
def test_who_rather_has_the_file_is_redirected(edge: EdgeProcess, accept: str) -> None:
    for _ in range(3):  # header blocks are remembered
        assert get(edge, "/iso/big-1.9.iso", Accept=accept).status == 302


def test_https_clients_get_https_urls_alone(edge: EdgeProcess) -> None:
    reply = get(edge, "/iso/big-1.10.iso.meta4", X_Forwarded_Proto="https")
    assert re.findall(rb">(\w+)://(\w+)", reply.body.split(b"<url")[1])[0][0] == b"https"
    assert b">http://de.example" not in reply.body


def test_a_repository_metalink_is_fedoras_and_tells_what_was_there_before(
    edge: EdgeProcess,
) -> None:
    reply = get(edge, "/metalink?repo=fedora&arch=x86_64")
    assert b'xmlns:mm0="http://fedorahosted.org/mirrormanager"' in reply.body
    file = ET.fromstring(reply.body).find(f"{M3}files/{M3}file")
    assert file is not None
    assert file.get("name") == "repomd.xml"
    assert file.findtext(f"{MM0}timestamp") == str(AT_S)
    own = file.findall(f"{M3}verification/{M3}hash")
    assert {one.get("type") for one in own} == {"md5", "sha1", "sha256", "sha512"}
    alternate = file.find(f"{MM0}alternates/{MM0}alternate")
    assert alternate is not None
    assert alternate.findtext(f"{M3}size") == str(len(OLD_REPOMD))
    before = alternate.findtext(f"{M3}verification/{M3}hash")
    assert before == hashlib.sha256(OLD_REPOMD).hexdigest()
    found = [(url.text, url.get("preference")) for url in file.iter(f"{M3}url")]
    path = REPOMD.decode()
    assert found == [  # the one that is a step behind comes last
        (f"http://de.example/pub/{path}", "100"),
        (f"http://jp.example/pub/{path}", "99"),
        (f"http://origin.example/pub/{path}", "98"),
        (f"http://us.example/pub/{path}", "97"),
    ]


# torrents


def test_magnet_and_torrent_are_of_one_info_dictionary(edge: EdgeProcess) -> None:
    reply = get(edge, "/iso/big-1.10.iso.torrent")
    assert reply["content-type"] == "application/x-bittorrent"
    torrent, raw_info = decode(reply.body)
    info = torrent[b"info"]
    assert info[b"name"] == b"big-1.10.iso"
    assert info[b"pieces"] == b"".join(
        hashlib.sha1(ISO[at : at + (1 << 20)], usedforsecurity=False).digest()
        for at in range(0, len(ISO), 1 << 20)
    )
    leaf = info[b"file tree"][b"big-1.10.iso"][b""]
    assert leaf == {b"length": len(ISO), b"pieces root": root_of(ISO)}
    assert list(torrent[b"piece layers"]) == [root_of(ISO)]
    assert torrent[b"url-list"][0] == b"http://de.example/pub/iso/big-1.10.iso"
    assert torrent[b"announce-list"] == [
        [b"https://tracker.example/announce"],
        [b"udp://two.example:1/announce"],
    ]
    magnet = get(edge, "/iso/big-1.10.iso?magnet").body.decode()
    v1 = hashlib.sha1(raw_info, usedforsecurity=False).hexdigest()
    assert f"xt=urn:btih:{v1}&" in magnet
    assert f"xt=urn:btmh:1220{hashlib.sha256(raw_info).hexdigest()}&" in magnet
    assert "xs=http%3A%2F%2Fget.example%2Fiso%2Fbig-1.10.iso.torrent" in magnet


# checksums, small files, conditions


@pytest.mark.parametrize("name", ["sha256", "sha512", "sha1", "md5"])
def test_checksums_are_as_coreutils_read_them(edge: EdgeProcess, name: str) -> None:
    wanted = f"{hashlib.new(name, ISO).hexdigest()}  big-1.10.iso\n".encode()
    assert get(edge, f"/iso/big-1.10.iso.{name}").body == wanted
    assert get(edge, f"/iso/big-1.10.iso?{name}").body == wanted


def test_small_files_of_trust_come_from_the_edge_itself(edge: EdgeProcess) -> None:
    reply = get(edge, "/iso/big-1.10.iso.asc")
    assert reply.status == 200
    assert reply.body == SIGNATURE
    assert reply["content-type"] == "text/plain; charset=utf-8"
    assert get(edge, "/iso/SHA256SUMS").body == b"the tree's own\n"
    assert get(edge, "/plain/empty").body == b""


def test_what_the_edge_should_serve_and_lacks_is_asked_of_the_origin(edge: EdgeProcess) -> None:
    for _ in range(2):
        reply = get(edge, "/plain/huge.sha256")
        assert reply["location"] == "http://origin.example/pub/plain/huge.sha256"


def test_sums_are_made_where_the_tree_has_none(edge: EdgeProcess) -> None:
    body = get(edge, "/iso/MD5SUMS").body.decode()
    assert f"{hashlib.md5(ISO, usedforsecurity=False).hexdigest()}  big-1.10.iso" in body
    assert body.count("\n") == 4
    assert get(edge, "/iso/SHA512SUMS").status == 404


def test_what_a_client_has_is_304_and_a_redirect_never_is(edge: EdgeProcess) -> None:
    for target in ("/iso/big-1.10.iso.asc", "/iso/big-1.10.iso.meta4", "/iso/"):
        full = get(edge, target)
        again = get(edge, target, If_None_Match=f'"x", {full["etag"]}')
        assert (again.status, again.body) == (304, b"")
        assert again["etag"] == full["etag"]
    dated = get(edge, "/iso/big-1.10.iso.asc")["last-modified"]
    assert get(edge, "/iso/big-1.10.iso.asc", If_Modified_Since=dated).status == 304
    later = get(edge, "/iso/big-1.9.iso", If_Modified_Since=dated, If_None_Match="*")
    assert later.status == 302


@pytest.mark.parametrize(
    "target",
    [
        "/iso/big-1.10.iso",
        "/iso/big-1.10.iso.meta4",
        "/iso/",
        "/iso/MD5SUMS",
        "/mirrorlist?path=iso/",
    ],
)
def test_head_has_the_fields_of_get_and_no_body(edge: EdgeProcess, target: str) -> None:
    full = get(edge, target)
    head = edge.get(target, "HEAD", X_Forwarded_For=FROM_GERMANY)
    varying = ("date",)
    assert [f for f in head.fields if f[0] not in varying] == [
        f for f in full.fields if f[0] not in varying
    ]
    assert head.body == b""


def test_a_redirect_names_torrent_metalink_and_signature(edge: EdgeProcess) -> None:
    for _ in range(2):
        links = get(edge, "/iso/big-1.10.iso").all("link")
        own = "http://get.example/iso/big-1.10.iso"
        assert links[-3:] == [
            f'<{own}.meta4>; rel=describedby; type="application/metalink4+xml"',
            f'<{own}.torrent>; rel=describedby; type="application/x-bittorrent"',
            f'<{own}.asc>; rel=describedby; type="application/pgp-signature"',
        ]


# folders


def test_a_folder_is_a_page_and_json(edge: EdgeProcess) -> None:
    page = get(edge, "/iso/", Accept="text/html")
    assert page["content-type"] == "text/html; charset=utf-8"
    assert b'href="big-1.10.iso"' in page.body
    listing = json.loads(get(edge, "/iso/", Accept="application/json").body)
    assert [entry["name"] for entry in listing["entries"]] == [
        "SHA256SUMS",
        "big-1.10.iso",
        "big-1.10.iso.asc",
        "big-1.9.iso",
    ]
    assert listing["files_below"] == 4
    top = json.loads(get(edge, "/", Accept="application/json").body)
    assert [entry["href"] for entry in top["entries"]] == [
        "debian/",
        "iso/",
        "latest/",
        "many/",
        "mirror/",
        "plain/",
        "repo/",
    ]


def test_large_folders_come_in_pages_that_make_up_the_whole(edge: EdgeProcess) -> None:
    names, following = [], ""
    for _ in range(5):
        listing = json.loads(get(edge, f"/many/{following}", Accept="application/json").body)
        names += [entry["name"] for entry in listing["entries"]]
        following = listing["next"]
        if not following:
            break
    assert names == [f"{number:04d}" for number in range(2_500)]


def test_a_browser_is_shown_the_way_from_what_is_not_there(edge: EdgeProcess) -> None:
    page = get(edge, "/iso/none/nothing%3Cb%3E.iso", Accept="text/html")
    assert page.status == 404
    assert b'href="/iso/"' in page.body
    assert b"nothing&lt;b&gt;.iso" in page.body
    assert get(edge, "/iso/none").body == b"This file is not in the catalog.\n"


def test_a_folder_without_its_slash_is_sent_to_it(edge: EdgeProcess) -> None:
    reply = get(edge, "/iso")
    assert (reply.status, reply["location"]) == (301, "/iso/")
    assert get(edge, "/is").status == 404
    assert get(edge, "/is/").status == 404


# other names


def test_an_alias_leads_to_the_highest_version_with_every_form(edge: EdgeProcess) -> None:
    reply = get(edge, "/latest/big.iso")
    assert (reply.status, reply["location"]) == (302, "/iso/big-1.10.iso")
    assert get(edge, "/latest/big.iso.meta4")["location"] == "/iso/big-1.10.iso.meta4"
    assert get(edge, "/latest/big.iso.sha256")["location"] == "/iso/big-1.10.iso.sha256"
    assert get(edge, "/latest/small.iso").status == 404


def test_an_alias_may_lead_straight_to_the_mirror(edge: EdgeProcess) -> None:
    reply = get(edge, "/mirror/big.iso")
    assert reply["location"] == "http://de.example/pub/iso/big-1.10.iso"


def test_aliases_stand_in_listings(edge: EdgeProcess) -> None:
    (entry,) = json.loads(get(edge, "/latest/", Accept="application/json").body)["entries"]
    assert entry == {
        "name": "big.iso",
        "href": "big.iso",
        "type": "alias",
        "of": "/iso/big-1.10.iso",
    }


# what isn't there any more


def test_what_moved_is_301_and_what_was_removed_410(edge: EdgeProcess) -> None:
    moved = get(edge, "/old/big-1.9.iso")
    assert (moved.status, moved["location"]) == (301, "/iso/big-1.9.iso")
    assert get(edge, "/old/never.iso").status == 404
    assert get(edge, "/loop/a").status == 404
    gone = get(edge, "/gone/0.9/a.iso")
    assert gone.status == 410
    assert b"Release 0.9 <is> gone." in gone.body
    assert b"/iso/big-1.10.iso" in gone.body
    page = get(edge, "/gone/0.9/a.iso", Accept="text/html").body
    assert b"Release 0.9 &lt;is&gt; gone." in page


# lists of mirrors


def test_a_mirror_list_names_only_holders(edge: EdgeProcess) -> None:
    assert urls(get(edge, "/mirrorlist?repo=fedora&arch=x86_64")) == [
        "http://de.example/pub/repo/x86_64/",
        "http://jp.example/pub/repo/x86_64/",
    ]
    assert len(urls(get(edge, "/mirrorlist?path=/iso/big-1.9.iso"))) == 3
    assert len(urls(get(edge, "/mirrorlist?path=debian/pool/"))) == 2
    assert len(urls(get(edge, "/mirrorlist?path=debian"))) == 3  # by its InRelease


def test_a_list_is_narrowed_by_country_and_protocol(edge: EdgeProcess) -> None:
    jp = get(edge, "/mirrorlist?path=iso/&country=jp")
    assert urls(jp) == ["http://jp.example/pub/iso/"]
    assert "# path = /iso/ country = JP" in jp.body.decode()
    elsewhere = get(edge, "/mirrorlist?path=iso/&country=fr&time=1").body.decode()
    assert "no mirror in FR" in elsewhere
    assert "# database creation time: 20" in elsewhere
    assert len(urls(get(edge, "/mirrorlist?path=iso/&country=global"))) == 3
    assert urls(get(edge, "/mirrorlist?path=iso/&protocol=https&country=de")) == []
    secure = get(edge, "/mirrorlist?path=iso/&protocol=https", X_Forwarded_Proto="https")
    assert all(url.startswith("https://") for url in urls(secure))


def test_every_package_managers_form(edge: EdgeProcess) -> None:
    apt = get(edge, "/mirrorlist?path=debian/&format=apt&type=deb&arch=amd64").body.decode()
    assert apt.splitlines()[0] == (
        "http://de.example/pub/debian/\tpriority:1\ttype:deb\tarch:amd64"
    )
    pacman = get(edge, "/mirrorlist?path=repo/&format=pacman").body.decode()
    assert "Server = http://de.example/pub/repo/$repo/os/$arch\n" in pacman
    zypper = json.loads(get(edge, "/mirrorlist?path=repo/&format=zypper").body)
    assert zypper[0]["url"] == "http://de.example/pub/repo/"
    reply = get(edge, "/mirrorlist?path=iso/&format=json")
    assert reply["access-control-allow-origin"] == "*"
    listed = json.loads(reply.body)["mirrors"]
    assert listed[0]["mirror"] == "de.example"
    assert listed[0]["cost_ms"] < listed[1]["cost_ms"]


def test_redirect_asks_for_the_first_of_the_list(edge: EdgeProcess) -> None:
    reply = get(edge, "/mirrorlist?path=iso/&redirect=1")
    assert (reply.status, reply["location"]) == (302, "http://de.example/pub/iso/")


def test_ip_is_believed_from_trusted_proxies(edge: EdgeProcess) -> None:
    assert urls(get(edge, "/mirrorlist?path=iso/&ip=192.0.2.9"))[0].startswith("http://jp.")


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("", 400),
        ("?path=nothing/", 404),
        ("?path=../x", 400),
        ("?repo=none&arch=x86_64", 404),
        ("?repo=fedora", 400),
        ("?repo=fedora&arch=s390x", 404),
        ("?path=iso/&country=Germany", 400),
        ("?path=iso/&protocol=gopher", 400),
        ("?path=iso/&format=word", 400),
        ("?path=iso/&ip=here", 400),
        ("?" + "&".join(f"a{number}=1" for number in range(30)), 400),
    ],
)
def test_a_bad_question_is_told_what_is_wrong(edge: EdgeProcess, query: str, status: int) -> None:
    reply = get(edge, f"/mirrorlist{query}")
    assert reply.status == status
    assert reply.body.startswith(b"# ")


def test_the_list_of_a_file_is_a_page_text_or_json(edge: EdgeProcess) -> None:
    page = get(edge, "/iso/big-1.10.iso.mirrorlist", Accept="text/html,*/*;q=0.1")
    assert page["content-type"].startswith("text/html")
    assert b"de.example" in page.body
    assert urls(get(edge, "/iso/big-1.10.iso?mirrorlist"))[0].startswith("http://de.example/")
    listed = json.loads(get(edge, "/iso/big-1.10.iso?mirrorlist", Accept="application/json").body)
    assert listed["digests"]["sha256"] == hashlib.sha256(ISO).hexdigest()
    assert [one["mirror"] for one in listed["mirrors"]][-1] is None


def test_zsync_is_there_for_the_files_that_have_it(edge: EdgeProcess) -> None:
    assert get(edge, "/iso/big-1.10.iso.zsync").body == b"zsync: 0.6.2\n"
    assert get(edge, "/iso/big-1.9.iso.zsync").status == 404


def test_a_folder_has_a_list_of_mirrors_too(edge: EdgeProcess) -> None:
    assert urls(get(edge, "/iso/?mirrorlist&country=jp")) == ["http://jp.example/pub/iso/"]
    assert len(urls(get(edge, "/debian/pool/?mirrorlist"))) == 2
    assert get(edge, "/nothing/?mirrorlist").status == 404


def test_a_query_of_any_length_is_refused_kindly(edge: EdgeProcess) -> None:
    many = "&".join(f"a{number}=1" for number in range(100))
    reply = get(edge, f"/iso/?{many}")
    assert reply.status == 400
    assert b"more than 20 fields" in reply.body


def test_folders_are_packed_for_who_reads_gzip(edge: EdgeProcess) -> None:
    plain = get(edge, "/many/", Accept="text/html")
    packed = get(edge, "/many/", Accept="text/html", Accept_Encoding="br, gzip")
    assert packed["content-encoding"] == "gzip"
    assert packed["vary"] == plain["vary"] == "Accept, Accept-Encoding"
    assert gzip.decompress(packed.body) == plain.body
    assert len(packed.body) * 5 < len(plain.body)
    assert packed["etag"] != plain["etag"]
    refused = get(edge, "/many/", Accept="text/html", Accept_Encoding="gzip;q=0")
    assert refused.body == plain.body
