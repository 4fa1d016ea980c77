"""A tree on disk to be scanned."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.catalog.helpers import Workshop


@pytest.fixture
def shop(tmp_path: Path) -> Workshop:
    root = tmp_path / "tree"
    root.mkdir()
    return Workshop(root, tmp_path / "data")
