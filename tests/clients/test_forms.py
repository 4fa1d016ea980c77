"""Forms of a file, judged by the tools they are for: jing, sha256sum, zsync."""

from __future__ import annotations

import random
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from tests.clients.conftest import IMAGE, IMAGE_BYTES, IMAGE_NAME
from tests.clients.stage import Ran, Stage, agent, done, run, sha256

pytestmark = [
    pytest.mark.needs("nginx"),
    pytest.mark.needs("curl"),
    pytest.mark.timeout(120),
]

GRAMMAR = Path(__file__).parent / "data" / "metalink4.rnc"
METALINK4 = "{urn:ietf:params:xml:ns:metalink}"
METALINK3 = "{http://www.metalinker.org/}"
FILES = [IMAGE, "files/7.9/image-7.9.iso", "files/8.0/read%20me%20%26%20more.txt"]


def fetch(stage: Stage, path: str, into: Path) -> Path:
    """What a new client gets, in a file of the last name of `path`."""
    target = into / path.rpartition("/")[2]
    done("curl", "-sSfL", "-A", agent(), "-o", str(target), stage.url + path)
    return target


def jing(document: Path) -> Ran:
    return run("jing", "-c", str(GRAMMAR), str(document))


@pytest.mark.needs("jing")
@pytest.mark.parametrize("path", FILES)
def test_a_metalink4_is_valid_by_the_grammar_of_its_rfc(
    stage: Stage, tmp_path: Path, path: str
) -> None:
    ran = jing(fetch(stage, f"{path}.meta4", tmp_path))
    assert ran.code == 0, ran.said


@pytest.mark.needs("jing")
def test_the_grammar_refuses_a_priority_of_zero(stage: Stage, tmp_path: Path) -> None:
    document = fetch(stage, f"{IMAGE}.meta4", tmp_path)
    document.write_text(document.read_text().replace('priority="1"', 'priority="0"'))
    ran = jing(document)
    assert (ran.code, "priority" in ran.said) == (1, True)


def test_a_metalink4_has_mirrors_in_order_pieces_signature_and_torrent(
    stage: Stage, tmp_path: Path
) -> None:
    root = ET.parse(fetch(stage, f"{IMAGE}.meta4", tmp_path)).getroot()
    (file,) = root.findall(f"{METALINK4}file")
    assert file.get("name") == IMAGE_NAME
    assert file.findtext(f"{METALINK4}size") == str(IMAGE_BYTES)
    hashes = {one.get("type"): one.text for one in file.findall(f"{METALINK4}hash")}
    assert hashes["sha-256"] == sha256(stage.original(IMAGE))
    assert set(hashes) == {"sha-256", "sha-512", "sha-1", "md5"}
    urls = file.findall(f"{METALINK4}url")
    assert [(one.get("priority"), one.text) for one in urls] == [
        (str(number), f"{mirror.url}{IMAGE}")
        for number, mirror in enumerate(stage.mirrors.values(), 1)
    ]
    assert [one.get("location") for one in urls] == ["de", "fr", "jp"]
    (pieces,) = file.findall(f"{METALINK4}pieces")
    assert len(pieces.findall(f"{METALINK4}hash")) == 7
    signature = stage.original(f"{IMAGE}.asc").read_text()
    assert (file.findtext(f"{METALINK4}signature") or "").strip() == signature.strip()
    (torrent,) = file.findall(f"{METALINK4}metaurl")
    assert torrent.text == f"{stage.url}{IMAGE}.torrent"


def test_a_metalink3_is_as_dnf_wants_it(stage: Stage, tmp_path: Path) -> None:
    document = fetch(stage, f"{IMAGE}.metalink", tmp_path)
    assert 'xmlns:mm0="http://fedorahosted.org/mirrormanager"' in document.read_text()
    (file,) = ET.parse(document).getroot().iter(f"{METALINK3}file")
    hashes = {one.get("type"): one.text for one in file.iter(f"{METALINK3}hash")}
    assert hashes["sha256"] == sha256(stage.original(IMAGE))
    urls = list(file.iter(f"{METALINK3}url"))
    assert [(one.get("preference"), one.text) for one in urls] == [
        (str(100 - number), f"{mirror.url}{IMAGE}")
        for number, mirror in enumerate(stage.mirrors.values())
    ]


@pytest.mark.parametrize("name", ["sha256", "sha512", "sha1", "md5"])
def test_checksum_programs_read_what_stands_beside_a_file(
    stage: Stage, tmp_path: Path, name: str
) -> None:
    fetch(stage, IMAGE, tmp_path)
    listed = fetch(stage, f"{IMAGE}.{name}", tmp_path)
    ran = run(f"{name}sum", "--strict", "-c", listed.name, cwd=tmp_path)
    assert (ran.code, ran.out) == (0, f"{IMAGE_NAME}: OK\n"), ran.said


def test_a_folders_list_of_checksums_is_right_for_all_its_files(
    stage: Stage, tmp_path: Path
) -> None:
    fetch(stage, "files/8.0/SHA256SUMS", tmp_path)
    for path in stage.original("files/8.0").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    ran = run("sha256sum", "--strict", "-c", "SHA256SUMS", cwd=tmp_path)
    assert ran.code == 0, ran.said
    assert ran.out.count(": OK") == len(list(stage.original("files/8.0").iterdir()))


def test_a_checksum_file_of_the_tree_comes_from_the_edge_whatever_mirrors_have(
    stage: Stage, tmp_path: Path
) -> None:
    path = f"{IMAGE}.sha256"
    forged = b"0" * 64 + f"  {IMAGE_NAME}\n".encode()
    with stage.mirrors["near"].replaced(path, forged):
        got = fetch(stage, path, tmp_path)
    assert got.read_bytes() == stage.original(path).read_bytes()
    assert not stage.sent()


def test_latest_is_the_newest_release(stage: Stage, tmp_path: Path) -> None:
    got = fetch(stage, "files/latest/image.iso", tmp_path)
    assert sha256(got) == sha256(stage.original(IMAGE))
    assert set(stage.sent()) == {"near"}


def test_what_has_moved_is_found_and_what_is_gone_says_so(stage: Stage, tmp_path: Path) -> None:
    got = fetch(stage, "files/stable/image-8.0.iso", tmp_path)
    assert sha256(got) == sha256(stage.original(IMAGE))
    gone = run("curl", "-sSi", "-A", agent(), f"{stage.url}files/6.0/image-6.0.iso")
    assert gone.out.startswith("HTTP/1.1 410 Gone")
    assert "Take 8.0." in gone.out


@pytest.mark.needs("wget")
def test_wget_takes_a_whole_folder_by_its_listing(stage: Stage, tmp_path: Path) -> None:
    command = ["wget", "-q", "-r", "-l1", "-np", "-nd", "-A", "*.iso,*.txt,*.asc", "-U", agent()]
    ran = run(*command, f"{stage.url}files/8.0/", cwd=tmp_path)
    assert ran.code == 0, ran.said
    names = {path.name for path in tmp_path.iterdir()}
    assert names >= {IMAGE_NAME, f"{IMAGE_NAME}.asc", "read me & more.txt"}
    assert sha256(tmp_path / IMAGE_NAME) == sha256(stage.original(IMAGE))


@pytest.mark.needs("zsync")
def test_zsync_fetches_only_what_an_older_copy_lacks(stage: Stage, tmp_path: Path) -> None:
    changed = bytearray(stage.original(IMAGE).read_bytes())
    changed[1_000_000:1_300_000] = random.Random(5).randbytes(300_000)
    older = tmp_path / "older.iso"
    older.write_bytes(changed)
    url = f"{stage.url}{IMAGE}.zsync"
    ran = run("zsync", "-q", "-i", str(older), "-o", IMAGE_NAME, url, cwd=tmp_path)
    assert ran.code == 0, ran.said
    assert sha256(tmp_path / IMAGE_NAME) == sha256(stage.original(IMAGE))
    sent = stage.sent()
    assert set(sent) == {"near"}
    assert 300_000 <= sent["near"] < 400_000
