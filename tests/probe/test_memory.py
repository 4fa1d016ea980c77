"""What a scan leaves for the next one."""

from __future__ import annotations

import os

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from pyroaring import BitMap

from heliostat.probe import memory as memory_module
from heliostat.probe.memory import LeafSeen, ScanMemory, decode


def test_a_memory_comes_back_as_it_was() -> None:
    whole = ScanMemory(
        method="index",
        laddered_s=5,
        why="rsync fails",
        identity="one",
        version=3,
        held=BitMap([1, 2, 70_000]),
        differing=BitMap([4]),
        leaves={b"v1/\xff": LeafSeen("22-Nov-2026 10:20", 1, 2)},
        sizes_asked={2: 0xFFFFFFFF, 1: 7},
    )
    assert decode(whole.encode()) == whole
    assert decode(ScanMemory(method="rsync").encode()) == ScanMemory(method="rsync")


def test_what_would_be_too_long_is_cut_to_the_method(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_module, "MAX_MEMORY_BYTES", 2000)
    long = ScanMemory(method="index", why="because", identity="one")
    long.leaves = {os.urandom(20): LeafSeen("x", 1, 2) for _ in range(500)}
    assert decode(long.encode()) == ScanMemory(method="index", why="because")


@pytest.mark.parametrize("text", [b"[]", b"{}", b'{"form":1}', b'{"form":2}', b"[" * 9999, b"\xff"])
def test_what_cant_be_read_is_as_if_nothing_was_remembered(text: bytes) -> None:
    assert decode(zstandard.compress(text)) == ScanMemory()


@given(st.binary(max_size=200))
def test_any_bytes_are_a_memory(data: bytes) -> None:
    assert decode(data) == ScanMemory()
    assert decode(None) == ScanMemory()
