"""Commands that verify a file, to copy into a terminal.

A name is a stranger's: it is quoted for the shell that reads it, and what isn't text in it is
replaced, so that a copied line never does anything else.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import Final

from heliostat.edge.forms.about import AboutFile
from heliostat.edge.pages.text import decoded, plain


@dataclass(frozen=True, slots=True)
class Command:
    """One line for a terminal, and what it is for."""

    title: str
    line: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class _Digest:
    """How the systems' own tools call a digest."""

    linux: str
    macos: str
    windows: str


_DIGESTS: Final = {
    "sha256": _Digest("sha256sum", "shasum -a 256", "SHA256"),
    "sha512": _Digest("sha512sum", "shasum -a 512", "SHA512"),
    "sha1": _Digest("sha1sum", "shasum -a 1", "SHA1"),
}
"""The one to verify with first. MD5 isn't among them: it proves nothing against bad intent."""


def commands(about: AboutFile) -> list[Command]:
    """For Linux, macOS and Windows, with the strongest digest there is, and for a signature."""
    url = (about.public_url + about.href.removeprefix("/")).replace("'", "%27")
    found = []
    digest = next((name for name in _DIGESTS if name in about.digests), "")
    if digest:
        tool = _DIGESTS[digest]
        fetch = f"curl -fsSL {shlex.quote(f'{url}.{digest}')}"
        found += [
            Command("Linux", f"{fetch} | {tool.linux} -c"),
            Command("macOS", f"{fetch} | {tool.macos} -c"),
            Command(
                "Windows (PowerShell)",
                f"(Get-FileHash -Algorithm {tool.windows} -LiteralPath {_powershell(about.name)})"
                f".Hash -eq '{about.digests[digest].hex()}'",
            ),
        ]
    if about.signature_href:
        signature = (about.public_url + about.signature_href.removeprefix("/")).replace("'", "%27")
        found.append(
            Command(
                "Signature (GnuPG)",
                f"curl -fsSL {shlex.quote(signature)} | gpg --verify - {_posix(about.name)}",
                "Needs the publisher's key in your keyring.",
            )
        )
    return found


def aria2(about: AboutFile) -> Command:
    """From several mirrors at once, every piece checked; a torrent beside it isn't followed, as
    aria2 would go on seeding when it has the file."""
    url = (about.public_url + about.href.removeprefix("/")).replace("'", "%27")
    option = "--follow-torrent=false " if about.magnet else ""
    return Command("aria2", f"aria2c {option}{shlex.quote(f'{url}.meta4')}")


def signature_name(about: AboutFile) -> str:
    return decoded(about.signature_href.rpartition("/")[2])


def _posix(name: str) -> str:
    """The file in the current folder, never an option."""
    return shlex.quote(f"./{plain(name)}")


_QUOTES_OF_POWERSHELL: Final = "'\u2018\u2019\u201a\u201b"
"""PowerShell ends a single-quoted text at any of them; two of one are that character (its
language specification, §2.3.5.2)."""


def _powershell(name: str) -> str:
    doubled = "".join(2 * letter if letter in _QUOTES_OF_POWERSHELL else letter for letter in name)
    return f"'./{plain(doubled)}'"
