"""Starting Django: on both databases, again, at once, and with settings that can't work."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.management import call_command
from django.db import connection

from heliostat.config.load import LoadedConfig, load_config
from heliostat.manager.database import database_settings
from heliostat.manager.errors import DatabaseSettingError, DatabaseUnavailableError
from heliostat.manager.registry.mirrors import list_mirrors
from heliostat.manager.setup import in_database, setup_django
from tests.manager.samples import declare, register

START = """
import sys
from pathlib import Path
from heliostat.config.load import load_config
from heliostat.manager.setup import setup_django
import os
setup_django(load_config(Path(sys.argv[1]), os.environ))
from heliostat.manager.registry.mirrors import list_mirrors
print(len(list_mirrors()))
"""


def test_a_second_start_finds_what_the_first_stored(loaded: LoadedConfig) -> None:
    register(declare("a.example"))
    setup_django(loaded)
    assert [mirror.name for mirror in list_mirrors()] == ["a.example"]


def test_starting_with_another_configuration_moves_there(
    loaded: LoadedConfig, tmp_path: Path
) -> None:
    register(declare("a.example"))
    other = tmp_path / "other" / "heliostat.toml"
    other.parent.mkdir()
    other.write_text("")
    setup_django(load_config(other, {}))
    assert list_mirrors() == []
    setup_django(loaded)
    assert len(list_mirrors()) == 1


async def test_asynchronous_callers_meet_the_database_that_was_set_up_last(
    config_path: Path, tmp_path: Path
) -> None:
    await asyncio.to_thread(setup_django, load_config(config_path, {}))
    await in_database(register, declare("a.example"))
    assert len(await in_database(list_mirrors)) == 1
    other = tmp_path / "other" / "heliostat.toml"
    other.parent.mkdir()
    other.write_text("")
    await asyncio.to_thread(setup_django, load_config(other, {}))
    assert await in_database(list_mirrors) == []


def test_several_processes_may_start_at_once(loaded: LoadedConfig, tmp_path: Path) -> None:
    url = loaded.config.manager.database
    environ = {**os.environ, "HELIOSTAT_MANAGER__DATABASE": url, "HELIOSTAT_DATA_DIR": "fresh"}
    if url:
        call_command("migrate", "registry", "zero", verbosity=0)
        call_command("migrate", "probing", "zero", verbosity=0)
    started = [
        subprocess.Popen(
            [sys.executable, "-c", START, str(loaded.path)],
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for _ in range(3)
    ]
    assert [process.communicate(timeout=60)[0] for process in started] == ["0\n"] * 3


def test_the_migrations_are_what_the_models_say(loaded: LoadedConfig) -> None:
    call_command("makemigrations", "--check", "--dry-run", verbosity=0)


def test_sqlite_runs_in_wal_mode_with_foreign_keys(config_path: Path) -> None:
    setup_django(load_config(config_path, {}))
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA journal_mode")
        assert cursor.fetchone() == ("wal",)
        cursor.execute("PRAGMA foreign_keys")
        assert cursor.fetchone() == (1,)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("mysql://u:secret@h/n", "not a database"),
        ("postgresql://h/x?nonsense=1", "not a valid PostgreSQL URL"),
        ("postgresql://host", "names no database"),
    ],
)
def test_a_database_setting_that_cant_work_is_one_sentence(
    config_path: Path, url: str, says: str
) -> None:
    loaded = load_config(config_path, {"HELIOSTAT_MANAGER__DATABASE": url})
    with pytest.raises(DatabaseSettingError, match=says) as caught:
        setup_django(loaded)
    assert "secret" not in str(caught.value)


def test_a_postgresql_url_keeps_all_its_parts(config_path: Path) -> None:
    url = "postgresql://helio:s%40t@db.example:5433/registry?sslmode=require"
    settings = database_settings(load_config(config_path, {"HELIOSTAT_MANAGER__DATABASE": url}))
    assert settings["NAME"] == "registry"
    assert (settings["USER"], settings["PASSWORD"]) == ("helio", "s@t")
    assert (settings["HOST"], settings["PORT"]) == ("db.example", "5433")
    assert settings["OPTIONS"]["sslmode"] == "require"


def test_a_database_that_isnt_there_is_one_sentence(config_path: Path, tmp_path: Path) -> None:
    url = f"postgresql://nobody@/nothing?host={tmp_path}"
    with pytest.raises(DatabaseUnavailableError, match=r"\[manager\] database"):
        setup_django(load_config(config_path, {"HELIOSTAT_MANAGER__DATABASE": url}))


def test_a_damaged_sqlite_file_is_named(config_path: Path, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "registry.sqlite3").write_bytes(b"this is no database" * 100)
    with pytest.raises(DatabaseUnavailableError, match=r"registry\.sqlite3"):
        setup_django(load_config(config_path, {}))
