"""The clients everybody has: curl, wget, aria2."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.clients.conftest import IMAGE, IMAGE_BYTES, IMAGE_NAME
from tests.clients.stage import Stage, agent, run, sha256

pytestmark = [
    pytest.mark.needs("nginx"),
    pytest.mark.needs("curl"),
    pytest.mark.needs("wget"),
    pytest.mark.needs("aria2"),
    pytest.mark.timeout(120),
]

MIB = 1024 * 1024


def test_curl_is_sent_to_the_near_mirror_and_gets_the_file(stage: Stage, tmp_path: Path) -> None:
    target = tmp_path / "got.iso"
    ran = run("curl", "-sSfL", "-A", agent(), "-o", str(target), stage.url + IMAGE)
    assert ran.code == 0, ran.err
    assert sha256(target) == sha256(stage.original(IMAGE))
    assert stage.sent() == {"near": IMAGE_BYTES}


def test_a_head_of_curl_tells_what_a_get_does(stage: Stage) -> None:
    head = run("curl", "-sSI", "-A", agent(), stage.url + IMAGE)
    get = run("curl", "-sS", "-D", "-", "-A", agent(), stage.url + IMAGE)
    assert get.out.startswith("HTTP/1.1 302")
    assert _timeless(head.out) == _timeless(get.out)
    (location,) = [line for line in get.out.splitlines() if line.startswith("Location: ")]
    assert location == f"Location: {stage.mirrors['near'].url}{IMAGE}"


def test_names_with_spaces_arrive_under_their_own_name(stage: Stage, tmp_path: Path) -> None:
    url = f"{stage.url}files/8.0/read%20me%20%26%20more.txt"
    ran = run("curl", "-sSfLOJ", "-A", agent(), url, cwd=tmp_path)
    assert ran.code == 0, ran.err
    (got,) = tmp_path.iterdir()
    assert got.read_text() == "Thanks.\n"
    assert got.name == "read%20me%20%26%20more.txt"  # as curl takes it from the URL, not from us


def test_a_mirrors_own_content_disposition_names_the_file(stage: Stage, tmp_path: Path) -> None:
    line = "add_header Content-Disposition 'attachment; filename=\"own.iso\"';"
    with stage.mirrors["near"].with_lines(line):
        ran = run("curl", "-sSfLOJ", "-A", agent(), stage.url + IMAGE, cwd=tmp_path)
    assert ran.code == 0, ran.err
    assert [path.name for path in tmp_path.iterdir()] == ["own.iso"]


def test_curl_goes_on_where_it_stopped(stage: Stage, tmp_path: Path) -> None:
    target = tmp_path / "got.iso"
    target.write_bytes(stage.original(IMAGE).read_bytes()[: 2 * MIB])
    ran = run("curl", "-sSfL", "-C", "-", "-A", agent(), "-o", str(target), stage.url + IMAGE)
    assert ran.code == 0, ran.err
    assert sha256(target) == sha256(stage.original(IMAGE))
    (served,) = stage.mirrors["near"].served()
    assert (served.status, served.sent_bytes) == (206, IMAGE_BYTES - 2 * MIB)


def test_curl_again_after_its_mirror_broke_off_ends_at_another(
    stage: Stage, tmp_path: Path
) -> None:
    target, who = tmp_path / "got.iso", agent()
    command = ["curl", "-sSfL", "-C", "-", "-A", who, "-o", str(target), stage.url + IMAGE]
    with stage.mirrors["near"].dies_after(2 * MIB):
        assert run(*command).code == 18  # a part of the file
        assert target.stat().st_size == 2 * MIB
        again = run(*command)
    assert again.code == 0, again.err
    assert sha256(target) == sha256(stage.original(IMAGE))
    assert stage.sent() == {"second": IMAGE_BYTES - 2 * MIB}  # the first's log ended with it


def test_wget_is_redirected_and_goes_on_where_it_stopped(stage: Stage, tmp_path: Path) -> None:
    target = tmp_path / IMAGE_NAME
    target.write_bytes(stage.original(IMAGE).read_bytes()[:MIB])
    ran = run("wget", "-c", "-U", agent(), stage.url + IMAGE, cwd=tmp_path)
    assert ran.code == 0, ran.err
    assert sha256(target) == sha256(stage.original(IMAGE))
    assert stage.sent() == {"near": IMAGE_BYTES - MIB}


def test_wget_outlives_a_mirror_that_breaks_off_again_and_again(
    stage: Stage, tmp_path: Path
) -> None:
    with stage.mirrors["near"].dies_after(2 * MIB):
        ran = run("wget", "--waitretry=0", "-U", agent(), stage.url + IMAGE, cwd=tmp_path)
        assert ran.code == 0, ran.err
        assert [one.status for one in stage.mirrors["near"].served()] == [200, 206, 206, 206]
    assert sha256(tmp_path / IMAGE_NAME) == sha256(stage.original(IMAGE))


def test_aria2_takes_from_three_mirrors_at_once(stage: Stage, tmp_path: Path) -> None:
    ran = aria2(stage, tmp_path)
    assert ran == 0
    assert sha256(tmp_path / IMAGE_NAME) == sha256(stage.original(IMAGE))
    sent = stage.sent()
    assert set(sent) == {"near", "second", "far"}
    assert all(sent_bytes >= MIB for sent_bytes in sent.values())


def test_what_aria2_gets_beside_the_file_doesnt_take_its_name(stage: Stage, tmp_path: Path) -> None:
    assert aria2(stage, tmp_path) == 0
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {IMAGE_NAME, f"{IMAGE_NAME}.meta4", f"{IMAGE_NAME}.sig"}


def test_aria2_skips_a_dead_mirror(stage: Stage, tmp_path: Path) -> None:
    with stage.mirrors["near"].dead():
        assert aria2(stage, tmp_path) == 0
    assert sha256(tmp_path / IMAGE_NAME) == sha256(stage.original(IMAGE))
    assert set(stage.sent()) == {"second", "far"}


def test_aria2_refuses_a_file_that_no_mirror_has_right(stage: Stage, tmp_path: Path) -> None:
    with stage.corrupt(IMAGE, at_byte=3 * MIB + 7):
        assert aria2(stage, tmp_path, "--max-tries=2", "--retry-wait=0") != 0
    assert len(stage.sent()) == 3


def aria2(stage: Stage, folder: Path, *more: str) -> int:
    """Its exit code, for the image in many small parts."""
    options = ["-d", str(folder), "-s3", "-k1M", "-U", agent(), "--console-log-level=warn"]
    return run("aria2c", *options, *more, stage.url + IMAGE).code


def _timeless(head: str) -> list[str]:
    return [line for line in head.splitlines() if not line.startswith("Date:")]
