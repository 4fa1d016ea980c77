"""A new zoo for every test."""

from __future__ import annotations

import random
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from django.db import connections

from heliostat.config.load import LoadedConfig, load_config
from heliostat.manager.setup import setup_django
from tests.hostile.mirrors.zoo import Zoo, folder_handler
from tests.probe.helpers import serving
from tests.support.authority import Authority

CONFIG = """\
[probe]
ca = "ca.pem"
allow_private = true
timeout_s = 1
verify_bytes_per_day = 1_000_000_000
requests_per_s = 10_000
[edge]
public_url = "http://127.0.0.1:8099/"
[[tree]]
name = "isos"
root = "tree"
metadata = ["repomd.xml"]
fallback = ["http://fallback.example/"]
origin = "http://origin.example/"
"""
MIB = 1 << 20
FILES = {"iso/big.iso": 2 * MIB + 4096, "iso/small.iso": 3000, "notes.txt": 700}


@pytest.fixture
async def open_later() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The bad mirror's own copy of the tree."""
    return tmp_path / "copy"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """Whose certificates the probes believe."""
    return Authority(tmp_path)


@pytest.fixture
def loaded(tmp_path: Path, copy: Path, authority: Authority) -> Iterator[LoadedConfig]:
    """A configuration with a tree of three files, and the copy of it."""
    rng = random.Random(7)
    root = tmp_path / "tree"
    for name, size in FILES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(rng.randbytes(size))
    shutil.copytree(root, copy)
    (tmp_path / "heliostat.toml").write_text(CONFIG)
    configuration = load_config(tmp_path / "heliostat.toml", {})
    setup_django(configuration)
    yield configuration
    connections.close_all()


@pytest.fixture
async def zoo(loaded: LoadedConfig, tmp_path: Path, open_later: AsyncExitStack) -> Zoo:
    root = tmp_path / "tree"
    good = [await open_later.enter_async_context(serving(folder_handler(root))) for _ in range(2)]
    return Zoo(loaded, root, good)
