"""Starts Django for one configuration and brings its database up to date.

Promises: safe to call again (a second call with the same database does nothing, with another one
moves this process there), safe when several processes start at once (one migrates, the others
wait), and no code of ours touches a database before it.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, ParamSpec, TypeVar

from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, DatabaseError, connection, connections
from django.db.migrations.executor import MigrationExecutor

from heliostat.config.load import LoadedConfig
from heliostat.manager import settings as fixed
from heliostat.manager.database import database_settings
from heliostat.manager.database_errors import clear_database_errors, explained
from heliostat.manager.errors import DataFolderError

MIGRATION_LOCK_KEY = 0x48454C494F  # "HELIO": the PostgreSQL advisory lock held while migrating

P = ParamSpec("P")
T = TypeVar("T")


def setup_django(loaded: LoadedConfig) -> None:
    """Configures Django from `loaded` and applies the migrations that are still open.

    Raises:
        DatabaseSettingError: `[manager] database` can't be understood.
        DatabaseUnavailableError: the database doesn't answer, or isn't ours to change.
        DataFolderError: the folder of the SQLite file can't be made.
    """
    database = database_settings(loaded)
    start_django(database)
    try:
        if not loaded.config.manager.database:
            loaded.data_dir.mkdir(parents=True, exist_ok=True)
        _migrate(loaded)
    except DatabaseError as error:
        raise explained(error) from error
    except OSError as error:
        raise DataFolderError(loaded.data_dir, error) from error


def start_django(database: dict[str, Any]) -> None:
    """Configures Django for a database without meeting it yet; models can be imported then."""
    if settings.configured:
        if not _is_current(database):
            _move_to(database)
        return
    import django

    values = {name: getattr(fixed, name) for name in dir(fixed) if name.isupper()}
    settings.configure(**{**values, "DATABASES": {DEFAULT_DB_ALIAS: database}})
    django.setup()


async def in_database(work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Runs `work` in the thread that owns the database connection, for asynchronous callers.

    The connection is closed afterwards, so that a database that was restarted in between is no
    matter for a job that runs for weeks.
    """

    def closing() -> T:
        try:
            with clear_database_errors():
                return work(*args, **kwargs)
        finally:
            _forget_connection()

    return await sync_to_async(closing)()


def _is_current(database: dict[str, Any]) -> bool:
    current = settings.DATABASES[DEFAULT_DB_ALIAS]
    return all(current.get(key) == value for key, value in database.items())


def _move_to(database: dict[str, Any]) -> None:
    settings.DATABASES = {DEFAULT_DB_ALIAS: database}
    connections.settings = connections.configure_settings(settings.DATABASES)
    _forget_connection()


def _forget_connection() -> None:
    """Closes this thread's connection; the next use opens one by the settings of that moment."""
    connections.close_all()
    with suppress(AttributeError):  # Django's answer when there is none
        del connections[DEFAULT_DB_ALIAS]


def _migrate(loaded: LoadedConfig) -> None:
    if not open_migrations():
        return
    with _migration_lock(loaded):
        if plan := open_migrations():  # another process may have done it meanwhile
            executor = MigrationExecutor(connection)
            executor.migrate([(m.app_label, m.name) for m in plan])


def open_migrations() -> list[Any]:
    """The migrations that the database of `start_django` lacks."""
    executor = MigrationExecutor(connection)
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    return [migration for migration, _ in plan]


@contextmanager
def _migration_lock(loaded: LoadedConfig) -> Iterator[None]:
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_lock(%s)", [MIGRATION_LOCK_KEY])
            try:
                yield
            finally:
                cursor.execute("SELECT pg_advisory_unlock(%s)", [MIGRATION_LOCK_KEY])
        return
    descriptor = os.open(loaded.data_dir / "registry.lock", os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
