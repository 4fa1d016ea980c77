"""The registry on both databases: every test that asks for `loaded` runs on each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from django.db import connections

from heliostat.config.load import LoadedConfig, load_config
from heliostat.manager import settings
from heliostat.manager.setup import setup_django, start_django
from tests.support.postgres import PostgresCluster

start_django(settings.DATABASES["default"])  # test modules import models

CONFIG = """\
[probe]
allow_private = true
timeout_s = 5
[[tree]]
name = "isos"
root = "tree"
[[tree]]
name = "docs"
root = "docs"
prefix = "/docs/"
"""


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresCluster]:
    with PostgresCluster() as cluster:
        yield cluster


@pytest.fixture
def config_path(tmp_path: Path) -> Path:
    path = tmp_path / "heliostat.toml"
    path.write_text(CONFIG)
    return path


@pytest.fixture(
    params=["sqlite", pytest.param("postgresql", marks=pytest.mark.needs("postgresql"))]
)
def loaded(request: pytest.FixtureRequest, config_path: Path) -> Iterator[LoadedConfig]:
    """A configuration whose database is new and set up."""
    environ = {}
    if request.param == "postgresql":
        cluster: PostgresCluster = request.getfixturevalue("postgres")
        environ["HELIOSTAT_MANAGER__DATABASE"] = cluster.new_database()
    configuration = load_config(config_path, environ)
    setup_django(configuration)
    yield configuration
    connections.close_all()
