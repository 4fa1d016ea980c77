"""`heliostat tree` as a person runs it: what it prints, and its exit codes."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from heliostat.demo.servers import NginxServer, free_port

RUN = [sys.executable, "-c", "from heliostat.cli.main import main; main()"]


class Shell:
    """A folder in which commands are run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.tree = folder / "files"
        self.tree.mkdir()
        (self.tree / "a.iso").write_bytes(b"content")

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        environ = {name: value for name, value in os.environ.items() if "HELIOSTAT" not in name}
        return subprocess.run(
            [*RUN, *arguments],
            cwd=self.folder,
            env=environ,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def json(self, *arguments: str) -> Any:
        answer = self.run(*arguments, "--json")
        assert answer.returncode == 0, answer.stderr
        return json.loads(answer.stdout)


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


def test_add_scan_list_from_nothing(shell: Shell) -> None:
    added = shell.run("tree", "add", "isos", "files", "--prefix", "/pub")
    assert (added.returncode, added.stdout) == (
        0,
        f"heliostat.toml: added tree isos: {shell.tree} at /pub/\n",
    )
    assert shell.run("tree", "list").stdout == f"isos\t{shell.tree}\t/pub/\t-\t-\t-\n"
    (report,) = shell.json("tree", "scan")
    assert (report["tree"], report["files"], report["added"]) == ("isos", 1, 1)
    again = shell.run("tree", "scan", "isos")
    assert again.stdout.startswith("isos: 1 files, 7 bytes; nothing changed; ")
    (row,) = shell.json("tree", "list")
    assert (row["name"], row["files"], row["size_bytes"], row["version"]) == ("isos", 1, 7, 1)
    assert shell.run("tree", "list").stdout.split("\t")[3:5] == ["1", "7"]


def test_faults_are_one_sentence_and_an_exit_code(shell: Shell) -> None:
    cases = [
        (["tree", "list"], 1, "no configuration here"),
        (["tree", "add", "x", "nowhere"], 1, "nowhere: no such folder"),
        (["tree", "add", "x", "ftp://host/x"], 1, "ftp:// isn't known"),
        (["tree", "add", "x", "s3://"], 1, "s3://BUCKET/PREFIX"),
        (["tree", "add", "X", "files"], 1, '"X" can\'t be a name'),
        (["tree", "add"], 2, "Missing argument"),
    ]
    for arguments, code, message in cases:
        answer = shell.run(*arguments)
        assert answer.returncode == code, arguments
        assert message in answer.stderr
        assert "Traceback" not in answer.stderr
    assert not (shell.folder / "heliostat.toml").exists()


def test_an_empty_tree_is_refused_and_the_others_are_scanned(shell: Shell) -> None:
    (shell.folder / "empty").mkdir()
    shell.run("tree", "add", "empty", "empty", "--prefix", "/empty/")
    shell.run("tree", "add", "isos", "files")
    answer = shell.run("tree", "scan")
    assert answer.returncode == 3
    assert 'tree "empty": no file in' in answer.stderr
    assert answer.stdout.startswith("isos: 1 files")
    assert shell.run("tree", "scan", "empty", "--allow-empty").returncode == 0
    unknown = shell.run("tree", "scan", "other")
    assert (unknown.returncode, "known: empty, isos" in unknown.stderr) == (1, True)


def test_odd_entries_are_remarks_on_standard_error(shell: Shell) -> None:
    (shell.tree / "out\nside").symlink_to("/etc")
    shell.run("tree", "add", "isos", "files")
    answer = shell.run("tree", "scan")
    assert answer.returncode == 0
    assert "  out\\nside: is a symlink out of the tree, to /etc; not followed\n" in answer.stderr
    assert shell.run("--quiet", "tree", "scan").stderr == ""


@pytest.mark.needs("nginx")
def test_a_remote_tree_is_added_and_scanned_as_a_release_does_it(shell: Shell) -> None:
    digest = hashlib.sha256(b"content").hexdigest()
    (shell.tree / "SHA256SUMS").write_text(f"{digest}  a.iso\n")
    (shell.tree / "notes").write_text("x")
    with NginxServer(shell.tree, "127.0.0.1", free_port(), shell.folder / "nginx") as server:
        added = shell.run("tree", "add", "isos", server.url)
        assert added.stdout == f"heliostat.toml: added tree isos: {server.url} at /\n"
        pushed = shell.run("tree", "scan", "isos")
        assert pushed.returncode == 0
        assert "3 files" in pushed.stdout
        assert "3 added; 1 without a digest" in pushed.stdout
        (report,) = shell.json("tree", "scan", "isos")
        assert (report["without_digest"], report["unchanged"], report["version"]) == (1, 3, 1)
        for number in range(30):
            (shell.tree / f"f{number}").write_text("x")
        shell.run("tree", "scan")
        for number in range(30):
            (shell.tree / f"f{number}").unlink()
        refused = shell.run("tree", "scan")
        assert (refused.returncode, "30 of 33 files are gone" in refused.stderr) == (3, True)
        assert shell.run("tree", "scan", "--allow-shrink").returncode == 0
    down = shell.run("tree", "scan")
    assert (down.returncode, down.stdout) == (1, "")
    assert "can't connect" in down.stderr
    assert shell.json("tree", "list")[0]["files"] == 3
