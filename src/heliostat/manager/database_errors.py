"""What a database's errors mean to a person: which database, what is wrong, what to do.

Promises: what the disk, the server or its rights are to blame for becomes a
`DatabaseUnavailableError`; a fault of our own (a broken constraint, bad SQL) stays what it is.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, DatabaseError, DataError, IntegrityError, ProgrammingError

from heliostat.manager.errors import DatabaseUnavailableError

NO_ROOM_BYTES: Final = 1 << 20
"""With less than this free, an I/O error of SQLite means a full disk (it says so of its index)."""

OUR_FAULTS: Final = (DataError, IntegrityError, ProgrammingError)


@contextmanager
def clear_database_errors() -> Iterator[None]:
    """For everything that writes to the database.

    Raises:
        DatabaseUnavailableError: it is full, damaged, gone, or not ours to write to.
    """
    try:
        yield
    except OUR_FAULTS:
        raise
    except DatabaseError as error:
        raise explained(error) from error


def explained(error: DatabaseError) -> DatabaseUnavailableError:
    """What to tell a person of `error`, met by the database that is set up."""
    database = settings.DATABASES[DEFAULT_DB_ALIAS]
    what = str(error).strip().partition("\n")[0] or type(error).__name__
    if not str(database["ENGINE"]).endswith("sqlite3"):
        return DatabaseUnavailableError(
            f"[manager] database: {what}; check that the database is there and may be written,"
            " then run it again"
        )
    path = Path(str(database["NAME"]))
    return DatabaseUnavailableError(f"{path}: {_sqlite_remedy(path, error, what)}")


def _sqlite_remedy(path: Path, error: DatabaseError, what: str) -> str:
    code = getattr(error.__cause__, "sqlite_errorcode", 0) & 0xFF  # the low byte: primary code
    no_room = code == sqlite3.SQLITE_IOERR and _free_bytes(path.parent) < NO_ROOM_BYTES
    if code == sqlite3.SQLITE_FULL or no_room:
        return "the disk is full; free some space and run it again, nothing was changed"
    if code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
        return (
            f"is damaged, or no registry at all; move {path.name}* away, then `heliostat mirrors"
            " apply PATH --doit` and `heliostat mirror probe` make it anew"
        )
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
        return (
            f"can't be opened or written; check the owner and permissions of {path.parent}, or"
            " run it as the user who owns that"
        )
    if code == sqlite3.SQLITE_BUSY:
        return "another program holds it; try again when that has ended"
    return f"{what}; check the disk, then run it again"


def _free_bytes(folder: Path) -> int:
    info = os.statvfs(folder)
    return info.f_bavail * info.f_frsize
