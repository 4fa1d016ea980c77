"""The clients everybody has: curl, wget, aria2."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.clients.conftest import IMAGE, IMAGE_BYTES
from tests.clients.stage import Stage, agent, run, sha256

pytestmark = [
    pytest.mark.needs("nginx"),
    pytest.mark.needs("curl"),
    pytest.mark.needs("wget"),
    pytest.mark.needs("aria2"),
    pytest.mark.timeout(120),
]

IMAGE_NAME = IMAGE.rpartition("/")[2]


def original(stage: Stage, path: str = IMAGE) -> Path:
    name, _, relative = path.partition("/")
    return stage.tree(name) / relative


def test_curl_follows_to_the_near_mirror_and_gets_the_file(stage: Stage, tmp_path: Path) -> None:
    target = tmp_path / "got.iso"
    ran = run("curl", "-sSfL", "-A", agent(), "-o", str(target), stage.url + IMAGE)
    assert ran.code == 0, ran.err
    assert sha256(target) == sha256(original(stage))
    assert stage.sent() == {"near": IMAGE_BYTES}
