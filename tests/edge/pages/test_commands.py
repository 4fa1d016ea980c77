"""The commands on a file's page do what they say when they are copied into a shell."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliostat.edge.forms.about import AboutFile
from heliostat.edge.pages.verify import Command, aria2, commands
from heliostat.model.place import Place

NAMES = (
    "rescue-11.iso",
    "with space & $(touch pwned) `touch pwned`.iso",
    'it\'s "quoted"; touch pwned.iso',
    "-rf --help",
    "日本語*?[a].iso",
)
TIMEOUT_S = 30


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder, and the URL that it is served at."""
    root = tmp_path / "served"
    root.mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(root)))
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield root, f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join(TIMEOUT_S)
        server.server_close()


def _about(name: str, url: str, content: bytes, algorithm: str = "sha256") -> AboutFile:
    digest = hashlib.new(algorithm, content).digest()
    return AboutFile(
        f"/{quote(name)}", name, 5, 1, url, [], Place(), {algorithm: digest},
        signature_href=f"/{quote(name)}.asc",
    )  # fmt: skip


def _line(found: list[Command], title: str) -> str:
    return next(command.line for command in found if command.title.startswith(title))


def _run(line: str, folder: Path, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", line],
        cwd=folder,
        env={**os.environ, "LC_ALL": "C.UTF-8", "no_proxy": "*", **env},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )


@pytest.mark.needs("curl", "perl")
@pytest.mark.parametrize("system", ["Linux", "macOS"])
@pytest.mark.parametrize("algorithm", ["sha256", "sha512", "sha1"])
@pytest.mark.parametrize("name", NAMES)
def test_a_digest_is_checked_whatever_the_name(
    name: str, algorithm: str, system: str, served: tuple[Path, str], tmp_path: Path
) -> None:
    root, url = served
    folder = tmp_path / "downloads"
    folder.mkdir()
    (folder / name).write_bytes(b"right")
    about = _about(name, url, b"right", algorithm)
    digest = about.digests[algorithm].hex()
    (root / f"{name}.{algorithm}").write_text(f"{digest}  {name}\n")
    line = _line(commands(about), system)
    right = _run(line, folder)
    assert right.returncode == 0, right
    assert right.stdout == f"{name}: OK\n"
    (folder / name).write_bytes(b"wrong")
    assert _run(line, folder).returncode == 1
    assert list(folder.iterdir()) == [folder / name]


@pytest.mark.needs("curl", "gnupg")
@pytest.mark.parametrize("name", NAMES)
def test_a_signature_is_checked_whatever_the_name(
    name: str, served: tuple[Path, str], tmp_path: Path
) -> None:
    root, url = served
    folder, home = tmp_path / "downloads", tmp_path / "g"
    folder.mkdir()
    home.mkdir(mode=0o700)
    (folder / name).write_bytes(b"right")
    gpg = ["gpg", "--homedir", str(home), "--batch", "--passphrase", ""]
    signing = ["--armor", "--output", str(root / f"{name}.asc"), "--detach-sign"]
    try:
        for arguments in (
            ["--quick-generate-key", "a@example.org", "ed25519", "sign", "never"],
            [*signing, str(folder / name)],
        ):
            subprocess.run([*gpg, *arguments], check=True, capture_output=True, timeout=TIMEOUT_S)
        line = _line(commands(_about(name, url, b"right")), "Signature")
        good = _run(line, folder, GNUPGHOME=str(home))
        assert good.returncode == 0, good
        assert "Good signature" in good.stderr
        (folder / name).write_bytes(b"wrong")
        bad = _run(line, folder, GNUPGHOME=str(home))
        assert bad.returncode == 1
        assert "BAD signature" in bad.stderr
        assert list(folder.iterdir()) == [folder / name]
    finally:
        subprocess.run(
            ["gpgconf", "--homedir", str(home), "--kill", "all"], check=False, timeout=TIMEOUT_S
        )


def test_the_strongest_digest_is_checked_and_md5_never() -> None:
    digests = {"md5": b"m" * 16, "sha1": b"1" * 20, "sha512": b"5" * 64, "sha256": b"2" * 32}
    lines = []
    while digests:
        about = AboutFile("/x", "x", 5, 1, "http://h/", [], Place(), dict(digests))
        lines.append(" ".join(command.line for command in commands(about)))
        digests.popitem()
    assert ["sha256sum" in line for line in lines] == [True, False, False, False]
    assert ["sha512sum" in line for line in lines] == [False, True, False, False]
    assert ["sha1sum" in line for line in lines] == [False, False, True, False]
    assert lines[3] == ""


@given(st.text(st.characters(codec=None), min_size=1, max_size=30))
def test_no_name_ends_the_quotes_of_powershell(name: str) -> None:
    """In single quotes only a doubled quote, of any of the five sorts, is no end."""
    about = AboutFile("/x", name, 5, 1, "http://h/", [], Place(), {"sha256": b"2" * 32})
    line = _line(commands(about), "Windows")
    inside = line.removeprefix("(Get-FileHash -Algorithm SHA256 -LiteralPath '")
    inside = inside.removesuffix(f"').Hash -eq '{(b'2' * 32).hex()}'")
    assert len(inside) < len(line) - 80
    for run in re.findall("['\u2018\u2019\u201a\u201b]+", inside):
        assert len(run) % 2 == 0


@given(st.text(st.characters(codec=None), min_size=1, max_size=30))
def test_a_command_is_one_line(name: str) -> None:
    href = "/" + quote(name, safe="", errors="replace")
    about = AboutFile(
        href, name, 5, 1, "http://h/", [], Place(), {"sha256": b"2" * 32}, signature_href=href
    )
    for command in (*commands(about), aria2(about)):
        assert len(command.line.splitlines()) == 1
