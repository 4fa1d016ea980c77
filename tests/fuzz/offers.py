"""A source of states that says whatever it likes: an edge must refuse it in its own words."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from heliostat.model.errors import HeliostatError
from heliostat.state.errors import NoStateError
from heliostat.state.fetch import fetch_state
from heliostat.state.keys import KeyFolder
from heliostat.state.manifest import Manifest, StateFile
from heliostat.state.sign import SignedState, sign
from heliostat.state.store import StateStore

CUT = b"\xff\xfe"
"""Ends one file of the repository and begins the next."""


class Hostile:
    """The parts of `data` as its timestamp, snapshot, targets and next root; no other file."""

    name = "http://hostile.example/"
    label = "hostile.example"
    is_local = False

    def __init__(self, data: bytes) -> None:
        names = ("timestamp", "snapshot", "targets", "root")
        self._parts = dict(zip(names, data.split(CUT), strict=False))

    def timestamp(self) -> bytes | None:
        return self._parts["timestamp"]

    def forget(self) -> None:
        """Nothing is remembered."""

    def chunks(self, path: str, size_bytes: int) -> Iterator[bytes]:
        part = self._parts.get(path.rpartition("/")[2].removesuffix(".json").rpartition(".")[2])
        if part is None or (path.endswith("root.json") and not path.endswith("/2.root.json")):
            raise NoStateError(f"{path}: no state there")
        yield part


@cache
def _ground() -> tuple[KeyFolder, StateStore]:
    folder = Path(tempfile.mkdtemp(prefix="heliostat-fuzz-"))
    keys = KeyFolder(folder / "keys")
    keys.make(datetime.now(UTC), None, b"")
    return keys, StateStore(folder / "held")


def offer(data: bytes) -> None:
    """Nothing is ever taken: a state has files, and this source has none."""
    keys, held = _ground()
    try:
        fetch_state(Hostile(data), held, None, anchor=keys.roots()[1])
    except HeliostatError:
        assert not held.switch.exists()
        return
    raise AssertionError("a state without files was taken")


def seeds() -> list[bytes]:
    """Rightly signed metadata, whole and in part."""
    keys, _ = _ground()
    file = StateFile("mirrors", "00" * 32, 5)
    signed: SignedState = sign(
        Manifest(1, datetime.now(UTC), {"mirrors": file}, {"mirrors": 1, "files": 1}), keys
    )
    parts = [signed.timestamp, signed.snapshot, signed.targets, keys.roots()[1]]
    return [CUT.join(parts), CUT.join(parts[:1]), CUT.join(parts[:2]), b"{}", CUT * 3]
