"""Reads lists of digests: SHA256SUMS and its like, NAME.sha256, NAME-CHECKSUM.

Lines are those of coreutils (`HEX  NAME`, `HEX *NAME`, and behind a backslash with \\n and \\\\ in
the name), of BSD (`SHA256 (NAME) = HEX`), or the digest alone in a file beside the one it is of.
Around them may stand a clear-signed message of PGP (RFC 9580 7); the signature is not checked: the
list comes from where the files come from. Lines of any other form are passed over, as comments are.
"""

from __future__ import annotations

import re

from heliostat.catalog.checksums.claims import (
    DIGEST_BYTES,
    Claim,
    Counted,
    Lines,
    below,
    digest_of,
    folder_of,
)

_GNU = re.compile(rb"(\\?)([0-9A-Fa-f]{32,128})[ \t][ \t*](.+)")
_BSD = re.compile(
    rb"(SHA256|SHA512|SHA1|MD5|SHA2-256|SHA2-512) ?\((.+)\) ?= ?([0-9A-Fa-f]{32,128})"
)
_BARE = re.compile(rb"[0-9A-Fa-f]{32,128}")
_BY_LENGTH = {2 * size: name for name, size in DIGEST_BYTES.items()}
_SIGNATURE = b"-----BEGIN PGP SIGNATURE-----"


class SumsParser:
    """A list of digests that stands at `path` in the tree.

    `algorithm` is the one that its name promises, or "": lines of others are passed over.
    `of` is the file that it stands beside (NAME of NAME.sha256), or b"".
    """

    def __init__(self, path: bytes, algorithm: str = "", of: bytes = b"") -> None:
        self._folder = folder_of(path)
        self._algorithm, self._of = algorithm, of
        self._lines = Lines()
        self._counted = Counted()
        self._ended = False

    def feed(self, data: bytes) -> list[Claim]:
        return self._read(self._lines.feed(data))

    def finish(self) -> list[Claim]:
        return self._read(self._lines.finish())

    def _read(self, lines: list[bytes]) -> list[Claim]:
        claims = []
        for line in lines:
            if line.startswith(_SIGNATURE):
                self._ended = True
            if self._ended:
                continue
            claim = self._claim(line.removeprefix(b"- ").rstrip())
            if claim is not None:
                claims.append(claim)
        return self._counted.add(claims)

    def _claim(self, line: bytes) -> Claim | None:
        if gnu := _GNU.fullmatch(line):
            algorithm = _BY_LENGTH.get(len(gnu[2]), "")
            name = _unescaped(gnu[3]) if gnu[1] else gnu[3]
            text = gnu[2]
        elif bsd := _BSD.fullmatch(line):
            algorithm = bsd[1].decode().lower().replace("sha2-", "sha")
            name, text = bsd[2], bsd[3]
        elif self._of and _BARE.fullmatch(line):
            algorithm = _BY_LENGTH.get(len(line), "")
            name, text = self._of.removeprefix(self._folder), line
        else:
            return None
        if self._algorithm not in ("", algorithm):
            return None
        digest = digest_of(algorithm, text)
        path = below(self._folder, name)
        if self._of and path != self._of and name.rpartition(b"/")[2] == self._of_name:
            path = self._of  # the name has the folder in which it was built in front
        return None if digest is None or path is None else Claim(path, algorithm, digest)

    @property
    def _of_name(self) -> bytes:
        return self._of.rpartition(b"/")[2]


def _unescaped(name: bytes) -> bytes:
    escapes = {b"\\n": b"\n", b"\\r": b"\r", b"\\\\": b"\\"}
    return re.sub(rb"\\[nr\\]", lambda found: escapes[found[0]], name)
