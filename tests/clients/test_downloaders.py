"""wget2 and aria2, which read metalinks and Link fields, over mirrors that lie.

Seen of aria2 1.36: it asks with `Accept: */*,application/metalink4+xml,application/metalink+xml`
and gets the metalink at the file's own address. Without that (`--header=Accept:*/*`) it takes
further mirrors from `Link: rel=duplicate` and the digest from `Digest`, both of the redirect.
A metalink with a torrent in it (that of `.meta4`, not the negotiated one) makes it seed, until it
is stopped or has --seed-time=0.
Seen of wget2 1.99.1: it asks as a browser does, and finds the metalink by `Link: rel=describedby`.
It goes by the first digest it knows (sha-512 it cuts off by a character), checks pieces, but never
leaves the first mirror: a dead one, or one whose pieces are wrong, is asked until one stops it.
With --no-metalink it ends at a redirect that has Link and Digest, without a file or a word.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.clients.conftest import IMAGE, IMAGE_BYTES, IMAGE_NAME
from tests.clients.stage import Ran, Stage, agent, run, sha256

pytestmark = [
    pytest.mark.needs("nginx"),
    pytest.mark.needs("aria2"),
    pytest.mark.needs("wget2"),
    pytest.mark.timeout(120),
]

MIB = 1024 * 1024
STOPPED = 124
"""What timeout(1) ends with when it had to stop a program."""

BY_LINKS = ("--header=Accept:*/*", "--follow-metalink=false")
"""aria2 without metalinks."""


def aria2(stage: Stage, folder: Path, *more: str, what: str = IMAGE) -> Ran:
    """In many small parts, telling what it sees."""
    options = ["-d", str(folder), "-s3", "-k1M", "-U", agent(), "--retry-wait=0"]
    return run("aria2c", *options, "--console-log-level=info", *more, stage.url + what)


def wget2(stage: Stage, folder: Path, *more: str, prefix: tuple[str, ...] = ()) -> Ran:
    options = ["-U", agent(), "--no-hsts", "--tries=2", "--waitretry=0"]
    home = str(folder.parent)  # it keeps files of its own there
    return run(*prefix, "wget2", *options, *more, stage.url + IMAGE, cwd=folder, HOME=home)


def got(folder: Path) -> str:
    return sha256(folder / IMAGE_NAME)


def test_aria2_leaves_a_mirror_whose_piece_is_wrong(stage: Stage, tmp_path: Path) -> None:
    with stage.mirrors["far"].corrupt(IMAGE, at_byte=3 * MIB + 99):
        ran = aria2(stage, tmp_path)
    assert ran.code == 0, ran.said
    assert got(tmp_path) == sha256(stage.original(IMAGE))


@pytest.mark.parametrize("name", ["near", "second", "far"])
def test_aria2_gets_the_file_right_whichever_mirror_is_corrupt_all_over(
    stage: Stage, tmp_path: Path, name: str
) -> None:
    noise = bytes(IMAGE_BYTES)
    with stage.mirrors[name].replaced(IMAGE, noise):
        ran = aria2(stage, tmp_path)
        wrong_bytes = stage.mirrors[name].sent_bytes()
    assert ran.code == 0, ran.said
    assert got(tmp_path) == sha256(stage.original(IMAGE))
    assert wrong_bytes > 0
    assert "Invalid checksum" in ran.said or "Chunk checksum validation failed" in ran.said


def test_aria2_outlives_a_mirror_that_dies_in_the_middle(stage: Stage, tmp_path: Path) -> None:
    with stage.mirrors["near"].dies_after(300_000):
        ran = aria2(stage, tmp_path)
        assert stage.mirrors["near"].sent_bytes() >= 300_000
    assert ran.code == 0, ran.said
    assert got(tmp_path) == sha256(stage.original(IMAGE))
    assert stage.sent().keys() & {"second", "far"}


def test_aria2_leaves_a_mirror_whose_file_has_another_size(stage: Stage, tmp_path: Path) -> None:
    with stage.mirrors["near"].replaced(IMAGE, b"<html>We moved.</html>"):
        ran = aria2(stage, tmp_path)
    assert ran.code == 0, ran.said
    assert got(tmp_path) == sha256(stage.original(IMAGE))


def test_aria2_takes_less_from_a_slow_mirror(stage: Stage, tmp_path: Path) -> None:
    with stage.mirrors["near"].slow(400_000):
        ran = aria2(stage, tmp_path)
    assert ran.code == 0, ran.said
    assert got(tmp_path) == sha256(stage.original(IMAGE))
    sent = stage.sent()
    assert 0 < sent["near"] < 3 * MIB // 2, "each has 2 MiB to do when all are quick"
    assert sent.keys() > {"near"}


def test_aria2_without_metalinks_takes_mirrors_from_links(stage: Stage, tmp_path: Path) -> None:
    ran = aria2(stage, tmp_path, *BY_LINKS)
    assert ran.code == 0, ran.said
    assert got(tmp_path) == sha256(stage.original(IMAGE))
    assert set(stage.sent()) == {"near", "second", "far"}


def test_aria2_without_metalinks_refuses_what_the_redirects_digest_denies(
    stage: Stage, tmp_path: Path
) -> None:
    with stage.corrupt(IMAGE, at_byte=5 * MIB):
        ran = aria2(stage, tmp_path, *BY_LINKS)
    assert ran.code != 0, ran.said


def test_aria2_takes_a_metalink_by_its_own_address(stage: Stage, tmp_path: Path) -> None:
    for form in (".meta4", ".metalink"):
        folder = tmp_path / form
        options = ("--follow-metalink=mem", "--seed-time=0")
        ran = aria2(stage, folder, *options, what=IMAGE + form)
        assert ran.code == 0, ran.said
        assert (folder / IMAGE_NAME).exists()
        assert got(folder) == sha256(stage.original(IMAGE))


def test_wget2_checks_what_the_near_mirror_sent_by_the_metalink(
    stage: Stage, tmp_path: Path
) -> None:
    ran = wget2(stage, tmp_path, "-v")
    assert ran.code == 0, ran.said
    assert re.search("Checksum OK", ran.said)
    assert got(tmp_path) == sha256(stage.original(IMAGE))
    assert "near" in stage.sent()


def test_wget2_never_takes_a_wrong_piece_for_right(stage: Stage, tmp_path: Path) -> None:
    """It asks the same mirror again and again, until somebody stops it."""
    with stage.mirrors["near"].corrupt(IMAGE, at_byte=3 * MIB + 99):
        ran = wget2(stage, tmp_path, "-v", prefix=("timeout", "3"))
    assert ran.code == STOPPED
    assert "Piece 4/7 not OK" in ran.said
    assert "Checksum OK" not in ran.said
