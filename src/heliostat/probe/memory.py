"""What a scan leaves for the next one of the same mirror and tree: zstd-compressed JSON, bounded.

Theory. A folder's date changes when a name in it comes or goes; in a leaf folder (no folders in
it) nothing else can. So a leaf whose date its parent shows as before is not read again, if

- its date had been standing for SETTLED_S when the folder was last read: index pages show minutes,
  and a folder that changes twice in a minute shows the same date twice;
- it was read within RELIST_S: a file that is rewritten in place leaves the folder's date alone;
- no catalog file in it has changed since: what was seen was compared with those contents.

What was found of its files is then taken from the bitmaps kept here. Likewise a file whose page
rounds its size is asked for with HEAD once, and again when the page shows another size or date;
one of which it shows neither, once in RELIST_S.

Promises: `decode` takes any bytes; what it can't read is as if nothing was remembered.
"""

from __future__ import annotations

import base64
import binascii
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import zstandard
from numpy.typing import NDArray
from pyroaring import BitMap

from heliostat.probe.limits import (
    MAX_MEMORY_BYTES,
    MAX_MEMORY_JSON_BYTES,
    RELIST_S,
    SETTLED_S,
)

FORM = 1


@dataclass(frozen=True, slots=True)
class LeafSeen:
    """A leaf folder: the date its parent shows, since when, and when its page was read."""

    shown: str
    first_seen_s: int
    read_s: int

    def still_holds(self, shown: bytes, now_s: int) -> bool:
        """Whether what was read then may be taken for what is there now."""
        return (
            bool(shown)
            and self.shown == shown.decode("latin-1")
            and self.read_s - self.first_seen_s >= SETTLED_S
            and 0 <= now_s - self.read_s < RELIST_S
        )


@dataclass(slots=True)
class ScanMemory:
    """`method` is the one that worked, `laddered_s` when last all were tried from the cheapest.

    `why` says why cheaper ones don't work. `identity` and `version` are of the catalog that
    `held` and `differing` (file ids) were compared with. `sizes_asked` is a checksum of what the
    page showed of each file (by id) whose exact size was asked for.
    """

    method: str = ""
    laddered_s: int = 0
    why: str = ""
    identity: str = ""
    version: int = 0
    held: BitMap = field(default_factory=BitMap)
    differing: BitMap = field(default_factory=BitMap)
    leaves: dict[bytes, LeafSeen] = field(default_factory=dict)
    sizes_asked: dict[int, int] = field(default_factory=dict)

    def encode(self) -> bytes:
        """As bytes; when they would be more than MAX_MEMORY_BYTES, the method only."""
        whole = self._packed(whole=True)
        return whole if len(whole) <= MAX_MEMORY_BYTES else self._packed(whole=False)

    def _packed(self, *, whole: bool) -> bytes:
        document: dict[str, Any] = {
            "form": FORM,
            "method": self.method,
            "laddered_s": self.laddered_s,
            "why": self.why,
        }
        if whole:
            ids = sorted(self.sizes_asked)
            checks = np.array([self.sizes_asked[i] for i in ids], "<u4").tobytes()
            document |= {
                "identity": self.identity,
                "version": self.version,
                "held": _text(BitMap.serialize(self.held)),
                "differing": _text(BitMap.serialize(self.differing)),
                "asked": _text(BitMap.serialize(BitMap(ids))),
                "checks": _text(checks),
                "leaves": {
                    name.decode("latin-1"): [leaf.shown, leaf.first_seen_s, leaf.read_s]
                    for name, leaf in self.leaves.items()
                },
            }
        text = json.dumps(document, separators=(",", ":")).encode()
        if len(text) > MAX_MEMORY_JSON_BYTES:
            return self._packed(whole=False)
        return zstandard.ZstdCompressor(level=3).compress(text)


def decode(data: bytes | None) -> ScanMemory:
    """What `encode` made; an empty memory for anything else."""
    if not data:
        return ScanMemory()
    try:
        text = zstandard.ZstdDecompressor().decompress(
            data, max_output_size=MAX_MEMORY_JSON_BYTES, allow_extra_data=False
        )
        return _read(json.loads(text))
    except (zstandard.ZstdError, ValueError, LookupError, TypeError, RecursionError):
        return ScanMemory()


def _read(document: Mapping[str, Any]) -> ScanMemory:
    if document["form"] != FORM:
        return ScanMemory()
    memory = ScanMemory(
        method=str(document["method"]),
        laddered_s=int(document["laddered_s"]),
        why=str(document["why"]),
    )
    if "leaves" not in document:
        return memory
    ids = _bitmap(document["asked"])
    checks: NDArray[np.uint32] = np.frombuffer(_bytes(document["checks"]), "<u4")
    memory.sizes_asked = dict(zip(ids, checks.tolist(), strict=True))
    memory.held, memory.differing = _bitmap(document["held"]), _bitmap(document["differing"])
    memory.identity, memory.version = str(document["identity"]), int(document["version"])
    memory.leaves = {
        name.encode("latin-1"): LeafSeen(str(shown), int(first_s), int(read_s))
        for name, (shown, first_s, read_s) in document["leaves"].items()
    }
    return memory


def shown_check(shown: bytes, mtime_s: int) -> int:
    """A checksum of what a page shows of one file, and of the time the catalog expects."""
    return zlib.crc32(b"%d %b" % (mtime_s, shown))


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError(str(error)) from None


def _bitmap(text: str) -> BitMap:
    return BitMap.deserialize(_bytes(text))
