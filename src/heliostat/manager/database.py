"""`[manager] database` as Django's settings: SQLite in the data folder, or PostgreSQL.

SQLite runs in WAL mode (readers never wait for the writer), takes its write lock when a
transaction begins (so that two processes queue instead of failing half way) and waits
`SQLITE_BUSY_S` for it.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from heliostat.config.load import LoadedConfig
from heliostat.manager.errors import DatabaseSettingError

SQLITE_NAME = "registry.sqlite3"
SQLITE_BUSY_S = 20
POSTGRESQL_CONNECT_S = 10


def database_settings(loaded: LoadedConfig) -> dict[str, Any]:
    """Django's `DATABASES["default"]` for this configuration.

    Raises:
        DatabaseSettingError: not a postgresql:// URL, or psycopg isn't there.
    """
    url = loaded.config.manager.database
    if not url:
        return {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": str(loaded.data_dir / SQLITE_NAME),
            "OPTIONS": {
                "timeout": SQLITE_BUSY_S,
                "transaction_mode": "IMMEDIATE",
                "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
            },
        }
    if urlsplit(url).scheme not in ("postgresql", "postgres"):
        raise DatabaseSettingError(
            f'{loaded.path}: [manager] database = "{_without_password(url)}" is not a database'
            ' Heliostat knows; leave it empty for SQLite, or write "postgresql://USER@HOST/NAME"'
        )
    return _postgresql(loaded, url)


def _postgresql(loaded: LoadedConfig, url: str) -> dict[str, Any]:
    try:
        import psycopg
        from psycopg.conninfo import conninfo_to_dict
    except ImportError:
        raise DatabaseSettingError(
            "PostgreSQL needs psycopg, which is not installed;"
            " run `pip install 'heliostat[manager]'`"
        ) from None
    try:
        parts = {key: str(value) for key, value in conninfo_to_dict(url).items()}
    except psycopg.ProgrammingError as error:
        raise DatabaseSettingError(
            f"{loaded.path}: [manager] database is not a valid PostgreSQL URL: {str(error).strip()}"
        ) from None
    if not parts.get("dbname"):
        raise DatabaseSettingError(
            f"{loaded.path}: [manager] database names no database; write"
            ' "postgresql://USER@HOST/NAME"'
        )
    settings = {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": parts.pop("dbname"),
        "USER": parts.pop("user", ""),
        "PASSWORD": parts.pop("password", ""),
        "HOST": parts.pop("host", ""),
        "PORT": parts.pop("port", ""),
    }
    return {**settings, "OPTIONS": {"connect_timeout": POSTGRESQL_CONNECT_S, **parts}}


def _without_password(url: str) -> str:
    """The URL as it may be shown: a password in it is not repeated."""
    head, at, tail = url.rpartition("@")
    scheme, separator, user = head.partition("://")
    return f"{scheme}{separator}{user.split(':')[0]}{at}{tail}" if at else url
