"""Bytes that were asked for, by hour and country, and by mirror and size: what forecasts go by.

Made of the same counts as downloads, in the same transaction, with the sizes of the files as they
are in the catalogs then. Hours become days when they are old. Import only after `setup_django`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from django.db import connection, models, transaction

from heliostat.manager.budgets import models as rows
from heliostat.model.budget import size_class
from heliostat.model.catalog import CatalogTable

SizeOf = Callable[[bytes], int]
"""From a path with its tree's prefix, without the first slash, to the file's size; 0: unknown."""

HOURS_KEPT: Final = timedelta(days=63)
"""Nine weeks: an hour-of-week profile is made of eight."""
DAYS_KEPT: Final = timedelta(days=800)
UPSERT_ROWS: Final = 2000

DemandKey = tuple[datetime, bool, str]
ServedKey = tuple[datetime, bool, str, int]


class Sizes:
    """Sizes of files, looked up in catalogs that others keep."""

    def __init__(
        self, prefixes: Mapping[str, str], tables: Callable[[], Mapping[str, CatalogTable]]
    ) -> None:
        """`prefixes` are the trees' ("/" or "/x/"); `tables` gives the catalogs now, by tree."""
        by_length = sorted(prefixes.items(), key=lambda item: -len(item[1]))
        self._prefixes = [(tree, prefix.encode().lstrip(b"/")) for tree, prefix in by_length]
        self._tables = tables

    def __call__(self, path: bytes) -> int:
        tables = self._tables()
        for tree, prefix in self._prefixes:
            table = tables.get(tree)
            if not path.startswith(prefix) or table is None:
                continue
            relative = path[len(prefix) :]
            row = bisect_left(table.paths, relative)
            if row < len(table.paths) and table.paths[row] == relative:
                return int(table.sizes_bytes[row])
            return 0
        return 0


class Bytes:
    """Sums of a segment, to be added in its transaction."""

    def __init__(self) -> None:
        self.demand: Counter[DemandKey] = Counter()
        self.served: Counter[ServedKey] = Counter()

    def add(
        self, at: datetime, is_day: bool, mirror: str, country: str, size: int, downloads: int
    ) -> None:
        if size:
            self.demand[at, is_day, country] += size * downloads
            self.served[at, is_day, mirror, size_class(size)] += size * downloads

    def store(self) -> None:
        """Adds them; within the caller's transaction."""
        _upsert(rows.Demand, ("at", "is_day", "country"), self.demand)
        _upsert(rows.Served, ("at", "is_day", "mirror", "size_class"), self.served)


def fold_old_demand(now: datetime) -> None:
    """Adds old hours up to days and drops the oldest days."""
    for table, keys in (
        (rows.Demand, ("country",)),
        (rows.Served, ("mirror", "size_class")),
    ):
        before = (now - HOURS_KEPT).replace(hour=0, minute=0, second=0, microsecond=0)
        hours = table.objects.filter(is_day=False, at__lt=before)
        for day in list(hours.datetimes("at", "day")):
            of_day = hours.filter(at__gte=day, at__lt=day + timedelta(days=1))
            with transaction.atomic():
                sums: Counter[Any] = Counter()
                for row in of_day.values_list(*keys).annotate(total=models.Sum("bytes")):
                    sums[(day, True, *row[:-1])] += row[-1]
                of_day.delete()
                _upsert(table, ("at", "is_day", *keys), sums)
        table.objects.filter(at__lt=now - DAYS_KEPT).delete()


def demand_since(since: datetime, until: datetime) -> Iterable[tuple[datetime, bool, str, int]]:
    """(beginning, whether of a day, country, bytes), by time."""
    found = rows.Demand.objects.filter(at__gte=since, at__lt=until).order_by("at")
    return found.values_list("at", "is_day", "country", "bytes").iterator()


def served_of(mirror: str, since: datetime, until: datetime) -> list[tuple[datetime, int, int]]:
    """(hour, size class, bytes) of one mirror."""
    found = rows.Served.objects.filter(mirror=mirror, at__gte=since, at__lt=until).order_by("at")
    return list(found.values_list("at", "size_class", "bytes"))


def _upsert(table: type[models.Model], keys: Sequence[str], sums: Mapping[Any, int]) -> None:
    name = table._meta.db_table
    columns = ", ".join(keys)
    marks = ", ".join(["%s"] * (len(keys) + 1))
    sql = (
        f"INSERT INTO {name} ({columns}, bytes) VALUES ({marks}) ON CONFLICT ({columns})"  # noqa: S608  ours
        f" DO UPDATE SET bytes = {name}.bytes + excluded.bytes"
    )
    # In the order of the keys: two transactions that meet the same rows don't lock each other out.
    adapt = connection.ops.adapt_datetimefield_value
    values = [(adapt(key[0]), *key[1:], total) for key, total in sorted(sums.items())]
    with connection.cursor() as cursor:
        for start in range(0, len(values), UPSERT_ROWS):
            cursor.executemany(sql, values[start : start + UPSERT_ROWS])
