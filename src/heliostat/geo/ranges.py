"""Reads range files: CSV or TSV with start, end and what is known of the range.

Forms met in the field: ip-location-db (`1.0.0.0,1.0.0.255,AU` or `…,13335,"Cloudflare, Inc."`, as
addresses or as numbers, or a city's columns), tor-geoipdb's geoip and geoip6 (`#` comments, IPv4
as numbers), IP2Location LITE. There is seldom a header, so columns are told apart by what stands
in them: see `columns.py`. Nothing is guessed about a line that doesn't fit: it is an error with its
number, because a file with one broken line is usually a broken file.

Where ranges overlap, the shorter one counts.
"""

from __future__ import annotations

import csv
import re
from array import array
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from heliostat.geo.addresses import parse_address
from heliostat.geo.columns import ColumnPlan, plan_columns
from heliostat.geo.errors import SourceFileError
from heliostat.geo.layers import (
    IPV4_END,
    IPV6_END,
    FamilyColumns,
    Layer,
    SourceInfo,
    empty_family,
    flatten,
    whole_64s,
)
from heliostat.geo.licences import of_comments
from heliostat.geo.records import Records

MAX_LINES = 20_000_000
MAX_LINE_BYTES = 64 * 1024
SAMPLE_LINES = 500
"""Lines looked at to tell the columns apart."""
MAX_COMMENT_LINES = 200

_IPV6_LAST = (1 << 128) - 1
_Row = tuple[int, list[str]]


def read_ranges(path: Path, name: str, only: tuple[str, ...] = ()) -> Layer:
    """The layer of one range file; `only` limits the fields that count (empty: all).

    Raises:
        SourceFileError: empty, a line that doesn't fit, columns nobody can tell apart.
        OSError: it can't be read.
    """
    comments: list[str] = []
    rows = _rows(path, comments)
    sample = [row for row, _ in zip(rows, range(SAMPLE_LINES), strict=False)]
    if not sample:
        raise SourceFileError(path, "has no ranges; fetch it again, or take it out")
    plan = plan_columns([fields for _, fields in sample])
    if plan is None:
        raise SourceFileError(
            path,
            "has no column of countries, positions or AS numbers after start and end;"
            " is it a range file?",
            sample[0][0],
        )
    collector = _Collector(path, plan)
    for line, fields in sample[1:] if plan.has_header else sample:
        collector.take(line, fields)
    for line, fields in rows:
        collector.take(line, fields)
    licence, attribution = of_comments(comments)
    info = SourceInfo(
        name=name,
        format="tor-geoipdb" if _is_tor(comments) else "ranges",
        path=path,
        size_bytes=path.stat().st_size,
        built_at=_built_at(comments),
        licence=licence,
        attribution=attribution,
    )
    records = collector.records
    if not records.knows():
        raise SourceFileError(
            path, "knows no country, position or AS number; is it the right file?"
        )
    return records.layer(info, collector.ipv4(), collector.ipv6(), only)


class _Collector:
    """Rows as arrays: four numbers and a record a range."""

    def __init__(self, path: Path, plan: ColumnPlan) -> None:
        self.records = Records()
        self._path = path
        self._plan = plan
        self._known: dict[tuple[str, ...], int] = {}
        self._ranges4 = (array("Q"), array("Q"), array("q"))
        self._ranges6 = (array("Q"), array("Q"), array("Q"), array("q"))

    def take(self, line: int, fields: list[str]) -> None:
        """One row.

        Raises:
            SourceFileError: it is no range.
        """
        if len(fields) <= self._plan.last_needed:
            raise SourceFileError(
                self._path,
                f"has {len(fields)} columns here and {self._plan.last_needed + 1} are needed;"
                " is the file cut off?",
                line,
            )
        first, first_is6 = self._address(fields[0], line)
        last, last_is6 = self._address(fields[1], line)
        if first_is6 != last_is6 and not fields[0].isdigit():
            raise SourceFileError(self._path, "starts in one IP version, ends in another", line)
        if first > last:
            raise SourceFileError(
                self._path, f"the range ends ({fields[1]}) before it starts ({fields[0]})", line
            )
        record = self._record(fields, line)
        if last_is6:
            for column, value in zip(
                self._ranges6, (first >> 64, first & IPV6_END - 1, last >> 64, record), strict=True
            ):
                column.append(value)
        else:
            for column, value in zip(self._ranges4, (first, last, record), strict=True):
                column.append(value)

    def ipv4(self) -> FamilyColumns:
        if not len(self._ranges4[0]):
            return empty_family(False)
        first, last, record = (np.array(column) for column in self._ranges4)
        starts, index = flatten(first, last, IPV4_END)
        return self.records.columns(starts, _numbers(record, index), False)

    def ipv6(self) -> FamilyColumns:
        if not len(self._ranges6[0]):
            return empty_family(True)
        first_high, first_low, last_high, record = (np.array(column) for column in self._ranges6)
        first, last, is_whole = whole_64s(first_high, first_low, last_high)
        starts, index = flatten(first[is_whole], last[is_whole], IPV6_END)
        return self.records.columns(starts, _numbers(record[is_whole], index), True)

    def _address(self, text: str, line: int) -> tuple[int, bool]:
        """The address as a number, and whether it is IPv6; numbers above 2³² - 1 are."""
        if text.isascii() and text.isdigit() and len(text) <= 39:
            value = int(text)
            if value <= _IPV6_LAST:
                return value, value >= IPV4_END
        else:
            try:
                high, low, is_ipv6 = parse_address(text.strip())
            except ValueError:
                pass
            else:
                return high << 64 | low, is_ipv6
        raise SourceFileError(self._path, f'"{text[:60]}" is no address', line)

    def _record(self, fields: list[str], line: int) -> int:
        values = self._plan.values(fields)
        number = self._known.get(values)
        if number is None:
            try:
                number = self.records.add(*self._plan.record(values))
            except ValueError as error:
                raise SourceFileError(self._path, f"{error}", line) from None
            self._known[values] = number
        return number


def _numbers(record: NDArray[np.int64], index: NDArray[np.int64]) -> NDArray[np.int64]:
    if not len(record):
        return index
    return np.where(index < 0, -1, record[index])


def _rows(path: Path, comments: list[str]) -> Iterator[_Row]:
    """(line number, fields) of every line that is no comment; comments at the head are kept."""
    with path.open("rb") as handle:
        separator = ""
        for number, raw in enumerate(handle, 1):
            if number > MAX_LINES or len(raw) > MAX_LINE_BYTES:
                raise SourceFileError(
                    path, f"has over {MAX_LINES} lines, or one over {MAX_LINE_BYTES} bytes", number
                )
            # Names are for people only: a wrong byte in one mustn't cost the whole file.
            line = raw.decode("utf-8-sig" if number == 1 else "utf-8", "replace").strip("\r\n")
            if not line.strip():
                continue
            if line.startswith("#"):
                if len(comments) < MAX_COMMENT_LINES:
                    comments.append(line)
                continue
            if not separator:
                separator = _separator(line)
            if '"' not in line:
                yield number, line.split(separator)
                continue
            try:
                yield number, next(csv.reader([line], delimiter=separator))
            except csv.Error as error:
                raise SourceFileError(
                    path, f"can't be parted into columns: {error}", number
                ) from None


def _separator(line: str) -> str:
    return max("\t;,", key=line.count)


def _is_tor(comments: list[str]) -> bool:
    return any("Tor's geoip-db-tool" in line for line in comments)


def _built_at(comments: list[str]) -> datetime | None:
    """The time after "Generated:" in the head (IPFire's export writes it as RFC 5322 does)."""
    for line in comments:
        if found := re.search(r"Generated:\s*(.+?)\s*$", line):
            try:
                return parsedate_to_datetime(found[1]).astimezone(UTC)
            except (ValueError, TypeError):
                return None
    return None
