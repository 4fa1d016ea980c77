"""Reads what an RPM repository says of its files: repomd.xml and primary.xml.

Places in both are relative to the folder that `repodata` stands in. The XML is read as a stream
with expat; documents with a DTD or entities of their own are refused.
"""

from __future__ import annotations

from typing import Any
from xml.parsers import expat

from heliostat.catalog.checksums.claims import (
    MAX_LINE_BYTES,
    ChecksumFileError,
    Claim,
    Counted,
    below,
    digest_of,
    folder_of,
)

MAX_DEPTH = 32
_ALGORITHMS = {"sha256": "sha256", "sha512": "sha512", "sha": "sha1", "sha1": "sha1", "md5": "md5"}
_ITEMS = ("data", "package")


class RepodataParser:
    """A repomd.xml or primary.xml (unpacked) that stands at `path` in the tree."""

    def __init__(self, path: bytes) -> None:
        folder = folder_of(path)
        self._base = folder_of(folder[:-1]) if folder.endswith(b"repodata/") else folder
        self._counted = Counted()
        self._claims: list[Claim] = []
        self._depth = 0
        self._item = 0
        """Depth of the <data> or <package> that is open, or 0."""
        self._algorithm = self._place = ""
        self._size_bytes = -1
        self._digest: tuple[str, str] | None = None
        self._text: list[str] | None = None
        self._text_chars = 0
        self._parser = expat.ParserCreate(namespace_separator=" ")
        self._parser.buffer_text = True
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._chars
        self._parser.StartDoctypeDeclHandler = self._refuse

    def feed(self, data: bytes) -> list[Claim]:
        return self._parse(data, last=False)

    def finish(self) -> list[Claim]:
        return self._parse(b"", last=True)

    def _parse(self, data: bytes, *, last: bool) -> list[Claim]:
        try:
            self._parser.Parse(data, last)
        except expat.ExpatError as error:
            what = expat.errors.messages.get(error.code, "not well-formed")
            raise ChecksumFileError(f"is no XML (line {error.lineno:,}: {what})") from None
        except (ValueError, LookupError):  # an encoding that Python has no table for
            raise ChecksumFileError("is XML in an encoding that can't be read") from None
        claims, self._claims = self._claims, []
        return self._counted.add(claims)

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        name = tag.rpartition(" ")[2]
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise ChecksumFileError(f"is XML more than {MAX_DEPTH} elements deep")
        if not self._item:
            if name in _ITEMS:
                self._item = self._depth
                self._digest, self._place, self._size_bytes = None, "", -1
        elif self._depth == self._item + 1:
            self._part(name, attributes)

    def _part(self, name: str, attributes: dict[str, str]) -> None:
        if name == "checksum":
            self._algorithm = _ALGORITHMS.get(attributes.get("type", ""), "")
            self._open_text()
        elif name == "location":
            # a base elsewhere (xml:base) is no file of this tree
            elsewhere = any(key.endswith(" base") or key == "xml:base" for key in attributes)
            self._place = "" if elsewhere else attributes.get("href", "")
        elif name == "size":
            if "package" in attributes:
                self._size_bytes = _number(attributes["package"])
            else:
                self._open_text()

    def _open_text(self) -> None:
        self._text, self._text_chars = [], 0

    def _chars(self, text: str) -> None:
        if self._text is not None:
            self._text_chars += len(text)
            if self._text_chars > MAX_LINE_BYTES:
                raise ChecksumFileError(f"has a text of over {MAX_LINE_BYTES:,} characters")
            self._text.append(text)

    def _end(self, tag: str) -> None:
        name = tag.rpartition(" ")[2]
        if self._text is not None and self._depth == self._item + 1:
            text = "".join(self._text).strip()
            self._text = None
            if name == "checksum" and self._algorithm:
                self._digest = (self._algorithm, text)
            elif name == "size":
                self._size_bytes = _number(text)
        if self._item and self._depth == self._item:
            self._item = 0
            self._close_item()
        self._depth -= 1

    def _close_item(self) -> None:
        if self._digest is None or not self._place:
            return
        algorithm, text = self._digest
        digest = digest_of(algorithm, text.encode("utf-8", "replace"))
        path = below(self._base, self._place.encode("utf-8", "surrogatepass"))
        if digest is not None and path is not None:
            self._claims.append(Claim(path, algorithm, digest, self._size_bytes))

    def _refuse(self, *_: Any) -> None:
        raise ChecksumFileError("is XML with a DTD, which isn't read")


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else -1
