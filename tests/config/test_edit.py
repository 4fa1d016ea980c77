"""Adding a tree to heliostat.toml: comments stay, and nothing is half-written."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from heliostat.config.edit import add_tree, config_to_edit
from heliostat.config.errors import ConfigError
from heliostat.config.load import load_config

WITH_COMMENTS = """\
# the house file
data_dir = "/var/lib/heliostat"   # on the big disk

[[tree]]   # ours
name = "a"
root = "/srv/a"
prefix = "/a/"

[edge]  # the redirector
workers = 1
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "heliostat.toml"


def test_a_missing_file_is_begun(path: Path) -> None:
    add_tree(path, "isos", "/srv/isos", digests=["md5"], fallback=["https://example.org/x"])
    loaded = load_config(path, {})
    (tree,) = loaded.config.trees
    assert (tree.name, tree.root, tree.prefix) == ("isos", "/srv/isos", "/")
    assert tree.digests == ["md5"]
    assert tree.fallback == ["https://example.org/x/"]
    assert path.read_text().startswith("# ")


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_everything_that_stood_there_stays(path: Path, newline: str) -> None:
    before = WITH_COMMENTS.replace("\n", newline)
    path.write_bytes(before.encode())
    path.chmod(0o640)
    config = add_tree(path, "b", "/srv/b", prefix="/b")
    after = path.read_bytes().decode()
    assert [tree.name for tree in config.trees] == ["a", "b"]
    assert config.trees[1].prefix == "/b/"
    kept = [line for line in after.splitlines() if line in before.splitlines()]
    assert [line for line in kept if line] == [line for line in before.splitlines() if line]
    assert tomllib.loads(after)["edge"] == {"workers": 1}
    assert path.stat().st_mode & 0o777 == 0o640


def test_inline_trees_are_added_to_in_their_own_form(path: Path) -> None:
    path.write_text('tree = [ {name = "a", root = "/a", prefix = "/a/"} ]  # few\n[edge]\n')
    add_tree(path, "b", "/b")
    assert [tree.name for tree in load_config(path, {}).config.trees] == ["a", "b"]
    assert "# few" in path.read_text()


@pytest.mark.parametrize(
    ("name", "prefix", "message"),
    [
        ("a", "/c/", r':4: there is a tree "a" already \(/srv/a\)'),
        ("b", "/a", r':4: the tree "a" has the prefix "/a/" already'),
        ("B", "/b/", "can't be a name"),
        ("b", "b", "a prefix is a path"),
    ],
)
def test_a_tree_that_does_not_fit_changes_nothing(
    path: Path, name: str, prefix: str, message: str
) -> None:
    path.write_text(WITH_COMMENTS)
    with pytest.raises(ConfigError, match=message):
        add_tree(path, name, "/srv/b", prefix=prefix)
    assert path.read_text() == WITH_COMMENTS
    assert list(path.parent.iterdir()) == [path]


def test_a_file_with_a_fault_is_not_touched(path: Path) -> None:
    path.write_text("[edge]\nworkerz = 1\n")
    with pytest.raises(ConfigError, match=":2: unknown key"):
        add_tree(path, "a", "/srv/a")
    assert path.read_text() == "[edge]\nworkerz = 1\n"


def test_a_symlink_stays_one(path: Path, tmp_path: Path) -> None:
    real = tmp_path / "git" / "heliostat.toml"
    real.parent.mkdir()
    real.write_text("# in git\n")
    path.symlink_to(real)
    add_tree(path, "a", "/srv/a")
    assert path.is_symlink()
    assert 'name = "a"' in real.read_text()


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="can't be written"):
        add_tree(tmp_path / "no" / "heliostat.toml", "a", "/srv/a")


def test_without_any_file_the_one_here_is_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert config_to_edit(None, {}) == Path("heliostat.toml")
    assert config_to_edit(tmp_path / "other.toml", {}) == tmp_path / "other.toml"
