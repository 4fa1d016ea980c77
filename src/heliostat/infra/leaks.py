"""With private/ unlocked: whether any secret of it stands in the history of the public part."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from heliostat.infra import private
from heliostat.infra.git import environment, git

MIN_SECRET_CHARS: Final = 12
"""Shorter words stand in texts by chance."""
MAX_SECRET_BYTES: Final = 4096
MAX_FILE_BYTES: Final = 1 << 20
MAX_SECRETS: Final = 20_000
CHUNK_BYTES: Final = 1 << 20
WAIT_S: Final = 600
_VALUE = re.compile(r"""^\s*(?:-\s+)?(?:[^\s:#]+:\s+)?["']?([^\s"'#]+)["']?\s*(?:#.*)?$""")


def secret_words(folder: Path) -> dict[bytes, str]:
    """Each secret of an unlocked private/, and the file and line it stands in."""
    found: dict[bytes, str] = {}
    files = [folder / private.SECRETS, *sorted((folder / private.KEYS).rglob("*.pem"))]
    files += sorted((folder / "tls").rglob("*privkey*.pem"))
    for file in files:
        if file.stat().st_size > MAX_FILE_BYTES:
            continue
        name = file.relative_to(folder).as_posix()
        is_pem = file.suffix == ".pem"
        for number, line in enumerate(file.read_text(errors="replace").splitlines(), 1):
            value = line.strip() if is_pem else _value_of(line)
            if value.startswith("-----") or len(value) < MIN_SECRET_CHARS:
                continue
            found[value.encode()[:MAX_SECRET_BYTES]] = f"{name}, line {number}"
            if len(found) >= MAX_SECRETS:
                return found
    return found


def _value_of(line: str) -> str:
    if line.lstrip().startswith("#"):
        return ""
    match = _VALUE.match(line)
    if match is None or match[1].endswith(":"):
        return ""
    return match[1]


def leaks(repository: Path) -> list[str]:
    """One sentence for each blob of the public part that holds a secret.

    Raises:
        InfraError: git failed.
    """
    words = secret_words(repository / private.PRIVATE)
    if not words or not git(repository, "rev-list", "--all", "--max-count=1").strip():
        return []
    pattern = re.compile(b"|".join(re.escape(word) for word in sorted(words, reverse=True)))
    found = []
    for blob, secret in _search(repository, pattern):
        found.append(
            f"the public history has, in blob {blob[:12]}, the secret of private/{words[secret]};"
            " make it anew (`heliostat infra rotate`), then rewrite the history"
        )
    return found


def _search(repository: Path, pattern: re.Pattern[bytes]) -> Iterator[tuple[str, bytes]]:
    """(blob, secret) for each blob with one; a blob is read in pieces that overlap."""
    process = subprocess.Popen(
        ["git", "cat-file", "--batch", "--batch-all-objects", "--unordered"],
        cwd=repository,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdout
    stream = process.stdout
    try:
        while header := stream.readline(200):
            name, kind, size = header.decode("ascii").split()
            left = int(size)
            tail = b""
            hit = None
            while left and (chunk := stream.read(min(left, CHUNK_BYTES))):
                left -= len(chunk)
                if kind in ("blob", "commit", "tag") and hit is None:
                    hit = pattern.search(tail + chunk)
                    tail = chunk[-MAX_SECRET_BYTES:]
            stream.read(1)  # the newline behind it
            if hit is not None:
                yield name, hit[0]
    finally:
        stream.close()
        process.wait(WAIT_S)
