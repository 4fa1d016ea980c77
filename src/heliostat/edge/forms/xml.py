"""Text into XML 1.0: escaped, and without the characters that no XML document may have."""

from __future__ import annotations

import re
from collections.abc import Mapping

_SPECIAL = re.compile("[^\t\n\r !#-%'-;=?-~]")
_ILLEGAL = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_ENTITIES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;"})

SHA_NAMES: Mapping[str, str] = {
    "sha512": "sha-512",
    "sha256": "sha-256",
    "sha1": "sha-1",
    "md5": "md5",
}
"""hashlib's names in those of IANA's registry, the strongest first."""


def escape(text: str) -> str:
    """`text` as element content or inside an attribute's double quotes."""
    if _SPECIAL.search(text) is None:
        return text
    return _ILLEGAL.sub("\ufffd", text).translate(_ENTITIES)


def hashes(pieces: bytes, digest_bytes: int) -> list[str]:
    """Joined digests as hexadecimal texts."""
    whole, width = pieces.hex(), 2 * digest_bytes
    return [whole[at : at + width] for at in range(0, len(whole), width)]
