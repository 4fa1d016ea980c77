"""deploy/example-infra is what `heliostat infra init` makes of its example; it passes the check."""

from __future__ import annotations

import tomllib
from pathlib import Path

import yaml

from heliostat.infra import yamltext
from heliostat.infra.assets import COLLECTION, EXAMPLE, SKELETON
from heliostat.infra.public import TRUST
from heliostat.manager.registry.mirror_file import read_mirror_files
from tests.infra.support import Repositories, check
from tools.make_example_infra import TARGET, write

AGAIN = "python tools/make_example_infra.py writes it anew"


def _files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and COLLECTION not in path.relative_to(folder).parents
    }


def test_the_example_is_what_the_command_makes(tmp_path: Path) -> None:
    write(tmp_path)
    stored = _files(TARGET)
    del stored[TRUST.removeprefix("./")]
    assert stored == _files(tmp_path), AGAIN


def test_a_real_repository_has_the_same_public_part(repositories: Repositories) -> None:
    made, stored = _files(repositories.public), _files(TARGET)
    for path, content in stored.items():
        if path != TRUST:
            lines = made[path].splitlines(keepends=True)
            kept = [line for line in lines if not line.startswith(b"token_sha256 = ")]
            assert b"".join(kept) == content, path


def test_the_example_passes_the_check_as_it_lies_here() -> None:
    assert check(TARGET)["bad"] == []


def test_answers_are_the_example_in_deploy() -> None:
    beside = TARGET.with_name("example-infra.answers.toml")
    assert beside.read_bytes() == EXAMPLE.read_bytes()
    assert tomllib.loads(beside.read_text())["name"] == "systemrescue"


def test_every_yaml_file_reads_back() -> None:
    for path in TARGET.rglob("*.yml"):
        if "collections" not in path.parts:
            assert yaml.safe_load(path.read_text())


def test_mirror_files_are_those_of_the_answers() -> None:
    mirrors = read_mirror_files(TARGET / "mirrors.d", {"systemrescue"})
    wanted = tomllib.loads(EXAMPLE.read_text())["mirror"]
    assert sorted(mirrors) == sorted(one["name"] for one in wanted)
    budget = mirrors["cdn.example.net"].mirror.budget
    assert budget is not None
    assert budget.bytes_per_month == 50_000_000_000_000


def test_no_file_of_the_skeleton_is_obeyed_here() -> None:
    assert not [path for path in SKELETON.rglob(".*") if path.is_file()]


def test_yaml_is_read_back_as_it_was() -> None:
    value = {
        "plain": "some words/and-more.txt",
        "odd": [
            "yes",
            "no",
            "12.01",
            "1:20",
            "null",
            "~",
            "",
            " x",
            "a: b",
            "# x",
            "'",
            "ü",
            "x\n",
        ],
        "numbers": [1, 2.5, True, False],
        "empty": {},
        "none": [],
        "deep": [{"a": [{"b": "c"}, [1, [2, "y"]]], "d": {"e": "2001:db8::1"}}],
    }
    assert yaml.safe_load(yamltext.dump(value)) == value
