"""Saves what makes a manager this one, and gives it back on an empty machine.

A backup is a folder: `backup.json` (what is in it, with sha256), the configuration, the keys and
the database, and on request the catalogs (else trees are scanned anew, which may take hours of
hashing). SQLite is copied by its online backup, PostgreSQL by pg_dump, so nothing has to stop.

Promises: a backup is there whole under its name or not at all; a restore checks every file before
it writes one, writes over nothing, and makes another manager: should the old one still live, its
states are refused once the new one has published (`heliostat.manager.publishing.lease`).
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sqlite3
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from heliostat import __version__
from heliostat.config.load import LoadedConfig, load_config
from heliostat.manager.database import SQLITE_NAME, database_settings
from heliostat.manager.errors import BackupError
from heliostat.state.durable import fsync_folder, replace_file
from heliostat.state.keys import KEYS_FOLDER

FORMAT: Final = 1
LIST_NAME: Final = "backup.json"
CONFIG_NAME: Final = "heliostat.toml"
POSTGRESQL_NAME: Final = "registry.pgdump"
CATALOGS_FOLDER: Final = "catalog"
DUMP_S: Final = 6 * 3600
"""Longest time for pg_dump or pg_restore."""
SQLITE_PAGES: Final = 1000
"""Copied at a time; writers have their turn in between."""
CHUNK_BYTES: Final = 1 << 20
MAX_LIST_BYTES: Final = 16 * 1024 * 1024
MAX_FILES: Final = 10_000


def save(loaded: LoadedConfig, folder: Path, *, with_catalogs: bool) -> dict[str, Any]:
    """Makes `folder` a backup; what its list says.

    Raises:
        BackupError: `folder` is there already, or something can't be read or written.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise BackupError(f"{folder}: is there already; name a new folder")
    try:
        folder.absolute().parent.mkdir(parents=True, exist_ok=True)
        new = Path(tempfile.mkdtemp(prefix=".backup-", dir=folder.absolute().parent))
        try:
            about = _save(loaded, new, with_catalogs)
            if folder.is_dir():
                folder.rmdir()
            new.rename(folder)
            fsync_folder(folder.absolute().parent)
        finally:
            shutil.rmtree(new, ignore_errors=True)
    except OSError as error:
        raise BackupError(f"{error.filename or folder}: {error.strerror or error}") from error
    return about


def _save(loaded: LoadedConfig, new: Path, with_catalogs: bool) -> dict[str, Any]:
    _copy(loaded.path, new / CONFIG_NAME)
    keys = loaded.data_dir / KEYS_FOLDER
    if keys.is_dir():
        for path in _files_below(keys):
            _copy(keys / path, new / KEYS_FOLDER / path)
    if loaded.config.manager.database:
        kind, name = "postgresql", POSTGRESQL_NAME
        _run(["pg_dump", "--format=custom", f"--file={new / name}"], loaded)
    else:
        kind, name = "sqlite", SQLITE_NAME
        if (loaded.data_dir / name).exists():
            _copy_sqlite(loaded.data_dir / name, new / name)
    catalogs = loaded.data_dir / CATALOGS_FOLDER
    if with_catalogs and catalogs.is_dir():
        for path in sorted(catalogs.glob("*.sqlite")):
            _copy_sqlite(path, new / CATALOGS_FOLDER / path.name)
    about = {
        "format": FORMAT,
        "heliostat": __version__,
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "database": kind,
        "files": {str(path): _sha256(new / path) for path in sorted(_files_below(new))},
    }
    for path in _files_below(new):
        _sync(new / path)
    replace_file(new / LIST_NAME, json.dumps(about, indent=1).encode() + b"\n", mode=0o600)
    return about


def restore(
    folder: Path, config_path: Path, environ: Mapping[str, str]
) -> tuple[LoadedConfig, dict[str, Any]]:
    """Puts a backup's configuration to `config_path`, and the rest where that says.

    Raises:
        BackupError: it isn't whole, or something is in the way; nothing was written over.
        ConfigError: the configuration in it can't be used here.
    """
    about = _checked(folder)
    if config_path.exists():
        raise BackupError(f"{config_path}: is there already; move it away, or name another place")
    try:
        config_path.absolute().parent.mkdir(parents=True, exist_ok=True)
        _copy(folder / CONFIG_NAME, config_path)
        try:
            loaded = load_config(config_path, environ)
            _restore(folder, loaded, about)
        except BaseException:
            config_path.unlink()  # so that it can be tried again
            raise
    except OSError as error:
        raise BackupError(f"{error.filename or folder}: {error.strerror or error}") from error
    return loaded, about


def _restore(folder: Path, loaded: LoadedConfig, about: Mapping[str, Any]) -> None:
    is_sqlite = about["database"] == "sqlite"
    if is_sqlite == bool(loaded.config.manager.database):
        raise BackupError(
            f"{folder}: holds a database of {about['database']}, but [manager] database names"
            " another kind; change that first"
        )
    data_dir = loaded.data_dir
    places = {
        name: data_dir / name
        for name in about["files"]
        if name not in (CONFIG_NAME, POSTGRESQL_NAME)
    }
    for place in (data_dir / KEYS_FOLDER, *places.values()):
        if place.exists():
            raise BackupError(
                f"{place}: is there already; a backup is restored into an empty data_dir"
            )
    if not is_sqlite:
        _refuse_used_database(loaded)
        _run(
            ["pg_restore", "--no-owner", "--exit-on-error", "--single-transaction"],
            loaded,
            folder / POSTGRESQL_NAME,
        )
    written: list[Path] = []
    try:
        for name, place in places.items():
            written.append(place)
            _copy(folder / name, place)
            _sync(place)
    except BaseException:
        for place in written:
            place.unlink(missing_ok=True)
        raise
    _become_another(loaded)


def _become_another(loaded: LoadedConfig) -> None:
    """The lease in the backup is the old manager's; the next number is for this one."""
    from heliostat.manager.setup import setup_django

    setup_django(loaded)
    from heliostat.manager.work.models import PublisherLease  # a table, which needs Django set up

    PublisherLease.objects.update(until=datetime.now(UTC) - timedelta(days=1))


def _checked(folder: Path) -> dict[str, Any]:
    """The list of a backup whose files are all as it says."""
    path = folder / LIST_NAME
    try:
        with path.open("rb") as handle:
            about = json.loads(handle.read(MAX_LIST_BYTES))
        files = about["files"]
        is_ours = about["format"] == FORMAT and about["database"] in ("sqlite", "postgresql")
        if not is_ours or not isinstance(files, dict) or len(files) > MAX_FILES:
            raise ValueError("of another form")
    except FileNotFoundError:
        raise BackupError(f"{path}: is missing; {folder} is no backup of Heliostat") from None
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise BackupError(f"{path}: can't be read ({error}); take an older backup") from error
    for name, sha256 in files.items():
        parts = Path(name).parts
        if Path(name).is_absolute() or ".." in parts:
            raise BackupError(f"{path}: names {name!r}, which is outside the backup")
        try:
            found = _sha256(folder / name)
        except OSError:
            found = ""
        if found != sha256:
            raise BackupError(
                f"{folder / name}: is missing or was changed since; take an older backup"
            )
    return dict(about)


def _refuse_used_database(loaded: LoadedConfig) -> None:
    import psycopg

    try:
        with psycopg.connect(loaded.config.manager.database, connect_timeout=10) as connection:
            row = connection.execute(
                "SELECT count(*) FROM pg_tables WHERE schemaname = current_schema()"
            ).fetchone()
    except psycopg.Error as error:
        raise BackupError(f"the database doesn't answer: {' '.join(str(error).split())}") from error
    if row and row[0]:
        raise BackupError(
            f"the database has {row[0]} tables already; a backup is restored into an empty one"
        )


def _run(command: list[str], loaded: LoadedConfig, source: Path | None = None) -> None:
    """A program of PostgreSQL's; the connection is told by the environment, which nobody sees."""
    database = database_settings(loaded)
    own = {
        "PGDATABASE": database["NAME"],
        "PGUSER": database["USER"],
        "PGPASSWORD": database["PASSWORD"],
        "PGHOST": database["HOST"],
        "PGPORT": database["PORT"],
    }
    if source is not None:
        command = [*command, "--dbname", database["NAME"], str(source)]
    environ = {**os.environ, **{key: value for key, value in own.items() if value}}
    try:
        done = subprocess.run(
            command,
            env=environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=DUMP_S,
            check=False,
        )
    except FileNotFoundError:
        raise BackupError(
            f"{command[0]} is not installed; install PostgreSQL's client programs"
        ) from None
    except subprocess.TimeoutExpired:
        raise BackupError(f"{command[0]} took longer than {DUMP_S} s") from None
    if done.returncode:
        words = " ".join(done.stderr.decode(errors="replace").split())[:400]
        raise BackupError(f"{command[0]} failed: {words}")


def _copy_sqlite(source: Path, to: Path) -> None:
    to.parent.mkdir(parents=True, exist_ok=True)
    try:
        with (
            closing(sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", uri=True)) as reader,
            closing(sqlite3.connect(to)) as writer,
        ):
            reader.backup(writer, pages=SQLITE_PAGES)
            (verdict,) = writer.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.Error as error:
        raise BackupError(f"{source}: can't be copied ({error})") from error
    if verdict != "ok":
        raise BackupError(f"{source}: is damaged ({verdict}); it isn't worth a backup")
    to.chmod(0o600)


def _copy(source: Path, to: Path) -> None:
    to.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    shutil.copyfile(source, to)
    to.chmod(source.stat().st_mode & 0o700 | 0o600)


def _files_below(folder: Path) -> Iterator[Path]:
    yield from (path.relative_to(folder) for path in sorted(folder.rglob("*")) if path.is_file())


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
    fsync_folder(path.parent)


def _sha256(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
