"""The stage of plain files that most clients share; and which tests are for `make clients` only."""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.stage import Stage, standing

ALL_VARIABLE = "HELIOSTAT_CLIENTS"
"""Set by `make clients`: all clients, not only those of `test_short.py`."""

IMAGE = "files/8.0/image-8.0.iso"
IMAGE_NAME = "image-8.0.iso"
IMAGE_BYTES = 6 * 1024 * 1024 + 12_345
"""Seven pieces, the last one short."""

SETTINGS = """torrents = ["*.iso"]
zsync = ["*.iso"]
digests = ["sha1", "md5", "sha512"]
sums = ["sha256"]
publisher = "Example & Sons"
publisher_url = "https://example.org/"
[[tree.alias]]
path = "latest/image.iso"
target = "{version}/image-{version}.iso"
[[tree.moved]]
path = "stable/{rest}"
target = "8.0/{rest}"
[[tree.removed]]
path = "6.0/*"
successor = "8.0/image-8.0.iso"
hint = "Take 8.0."
"""

SIGNATURE = """-----BEGIN PGP SIGNATURE-----

iQEzBAABCAAdFiEEnotarealsignature0nlyItsFormMattersHere0000000000
=abcd
-----END PGP SIGNATURE-----
"""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    if os.environ.get(ALL_VARIABLE):
        return
    left = [item for item in items if here in item.path.parents and item.path.stem != "test_short"]
    config.hook.pytest_deselected(items=left)
    items[:] = [item for item in items if item not in left]


def fill_files(stage: Stage) -> None:
    """Two versions of an image with what stands beside it, and a small file."""
    root, numbers = stage.tree("files"), random.Random(20)
    for version in ("8.0", "7.9"):
        image = root / version / f"image-{version}.iso"
        image.parent.mkdir()
        image.write_bytes(numbers.randbytes(IMAGE_BYTES))
        digest = hashlib.sha256(image.read_bytes()).hexdigest()
        image.with_name(f"{image.name}.sha256").write_text(f"{digest}  {image.name}\n")
        image.with_name(f"{image.name}.asc").write_text(SIGNATURE)
    (root / "8.0" / "read me & more.txt").write_text("Thanks.\n")


@pytest.fixture(scope="session")
def session_stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with standing(tmp_path_factory.mktemp("clients"), {"files": SETTINGS}, fill_files) as stage:
        yield stage


@pytest.fixture
def stage(session_stage: Stage) -> Stage:
    """The stage of plain files; mirrors' logs begin with the test."""
    session_stage.forget()
    return session_stage
