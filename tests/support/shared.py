"""Real lists of mirrors and demand that may lie beside the checkout; tests pass without them."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

SHARED_DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"


def shared_file(name: str) -> Path:
    """The path of a shared file; the test is skipped when it isn't there."""
    path = SHARED_DATA / name
    if not path.is_file():
        pytest.skip(f"real data not here: {path.name} belongs into {SHARED_DATA}")
    return path


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines() if line]


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as handle:
        return list(csv.DictReader(handle))
