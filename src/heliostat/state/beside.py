"""Aliases and former contents of one tree, as an edge asks for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from heliostat.model.tree import AliasAnswer
from heliostat.routing.costs import Bools
from heliostat.state.documents import FormerDocument, TreeNamesDocument
from heliostat.state.errors import DamagedStateError


@dataclass(frozen=True, slots=True)
class Replaced:
    """Earlier contents of a file, newest first, and the mirrors that may have them, by index."""

    formers: tuple[FormerDocument, ...]
    behind: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class TreeNames:
    """Paths are relative to the tree. `aliases` has (target, answer)."""

    aliases: Mapping[bytes, tuple[bytes, AliasAnswer]]
    replaced: Mapping[bytes, Replaced]
    alias_paths: tuple[bytes, ...]
    """Sorted."""

    @classmethod
    def of(cls, document: TreeNamesDocument, mirrors: int) -> TreeNames:
        aliases = {
            one.path.encode("latin-1"): (one.target.encode("latin-1"), one.answer)
            for one in document.aliases
        }
        replaced = {
            one.path.encode("latin-1"): Replaced(
                tuple(one.formers),
                tuple(np.flatnonzero(holders_of(one.behind, mirrors)).tolist()),
            )
            for one in document.replaced
        }
        return cls(aliases, replaced, tuple(sorted(aliases)))


def holders_of(text: str, mirrors: int) -> Bools:
    """A fileset of the state: which mirrors are in it.

    Raises:
        DamagedStateError: it isn't one, or of other mirrors.
    """
    try:
        packed = np.frombuffer(bytes.fromhex(text), dtype=np.uint8)
    except ValueError:
        raise DamagedStateError("the state's shards: a fileset isn't hexadecimal") from None
    if len(packed) != (mirrors + 7) // 8:
        raise DamagedStateError("the state's shards: a fileset doesn't fit the number of mirrors")
    bits = np.unpackbits(packed, bitorder="little")
    if bits[mirrors:].any():
        raise DamagedStateError("the state's shards: a fileset names a mirror that isn't there")
    return bits[:mirrors].astype(np.bool_)
