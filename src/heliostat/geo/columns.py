"""Tells the columns of a range file apart: by its header, or by what stands in them.

The first two columns are start and end. Of the rest: two letters that are mostly country codes are
the country; two neighbouring columns of decimal fractions within ±90 and ±180 are the position;
whole numbers (or AS123) are AS numbers, unless there is a position (then they are postcodes); the
text after AS numbers is the AS's name, the text after the country, where there is a position, the
subdivision.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from heliostat.geo.addresses import parse_address
from heliostat.geo.countries import clean_code

_HEADER_NAMES = {
    "country": ("country_code", "country_iso_code", "country", "cc", "iso_code"),
    "subdivision": ("state1", "state", "region", "region_name", "subdivision", "stateprov"),
    "latitude": ("latitude", "lat"),
    "longitude": ("longitude", "lon", "lng"),
    "asn": ("asn", "autonomous_system_number", "as_number", "as"),
    "as_name": (
        "autonomous_system_organization",
        "as_name",
        "as_organization",
        "organization",
        "name",
        "as_description",
    ),
}
_KINDS = tuple(_HEADER_NAMES)
_LATITUDE_MAX = 90.0
_LONGITUDE_MAX = 180.0
_FRACTION = re.compile(r"-?\d{1,3}\.\d+")
_AS_NUMBER = re.compile(r"(?:AS)?(\d{1,10})", re.IGNORECASE)
_NO_AS_WORDS = frozenset(("", "-", "None", "none", "NULL", "?"))


@dataclass(frozen=True, slots=True)
class ColumnPlan:
    """Which column holds what; -1 for what isn't there."""

    country: int = -1
    subdivision: int = -1
    latitude: int = -1
    longitude: int = -1
    asn: int = -1
    as_name: int = -1
    has_header: bool = False

    @property
    def last_needed(self) -> int:
        """The last column that a row must have."""
        return max(1, self.country, self.latitude, self.longitude, self.asn)

    def values(self, fields: list[str]) -> tuple[str, ...]:
        """The row's texts in the order of `record`'s values; "" for what isn't there."""
        count = len(fields)
        return tuple(
            fields[column].strip() if 0 <= column < count else ""
            for column in (
                self.country,
                self.subdivision,
                self.latitude,
                self.longitude,
                self.asn,
                self.as_name,
            )
        )

    def record(
        self, values: tuple[str, ...]
    ) -> tuple[str, str, float | None, float | None, int, str]:
        """Country, subdivision, latitude, longitude, ASN, AS name of `values`.

        Raises:
            ValueError: a position or an AS number that is none.
        """
        country, subdivision, latitude, longitude, asn, as_name = values
        return (
            country,
            subdivision,
            _degrees(latitude),
            _degrees(longitude),
            _as_number(asn),
            as_name,
        )


def plan_columns(rows: Sequence[list[str]]) -> ColumnPlan | None:
    """The plan that `rows` (the first of a file) suggest; None when nothing is recognised."""
    if not _is_address(rows[0][0]):
        return _by_header(rows[0])
    # The usual number of columns: a row that is cut off must not hide what the others have.
    widths = Counter(len(row) for row in rows)
    count = max(widths, key=lambda width: (widths[width], width))
    texts = {
        column: [value for row in rows if column < len(row) and (value := row[column].strip())]
        for column in range(2, count)
    }
    country = next((c for c, values in texts.items() if _are_countries(values)), -1)
    latitude = next(
        (
            c
            for c in texts
            if c + 1 in texts
            and _are_degrees(texts[c], _LATITUDE_MAX)
            and _are_degrees(texts[c + 1], _LONGITUDE_MAX)
        ),
        -1,
    )
    asn = next(
        (c for c, values in texts.items() if _are_as_numbers(values, latitude >= 0)),
        -1,
    )
    plan = ColumnPlan(
        country=country,
        subdivision=country + 1 if country >= 0 and 0 <= latitude != country + 1 else -1,
        latitude=latitude,
        longitude=latitude + 1 if latitude >= 0 else -1,
        asn=asn,
        as_name=asn + 1 if asn >= 0 and asn + 1 != country else -1,
    )
    return plan if max(country, latitude, asn) >= 0 else None


def _by_header(header: list[str]) -> ColumnPlan | None:
    names = [re.sub(r"[^a-z0-9]+", "_", name.strip().lower()).strip("_") for name in header]
    found: dict[str, int] = {}
    for kind in _KINDS:
        for wanted in _HEADER_NAMES[kind]:
            if wanted in names[2:]:
                found[kind] = names.index(wanted, 2)
                break
    if "country" not in found and "latitude" not in found and "asn" not in found:
        return None
    return ColumnPlan(**found, has_header=True)


def _is_address(text: str) -> bool:
    if text.isascii() and text.isdigit():
        return True
    try:
        parse_address(text.strip())
    except ValueError:
        return False
    return True


def _are_countries(values: list[str]) -> bool:
    short = [value for value in values if len(value) == 2]
    known = sum(1 for value in short if clean_code(value))
    return bool(values) and len(short) == len(values) and 2 * known >= len(values)


def _are_degrees(values: list[str], limit: float) -> bool:
    fractions = [value for value in values if _FRACTION.fullmatch(value)]
    return (
        bool(values)
        and 10 * len(fractions) >= 9 * len(values)
        and all(abs(float(value)) <= limit for value in fractions)
    )


def _are_as_numbers(values: list[str], has_position: bool) -> bool:
    said = [value for value in values if value not in _NO_AS_WORDS]
    if not said or not all(_AS_NUMBER.fullmatch(value) for value in said):
        return False
    return not has_position or all(value[:2].upper() == "AS" for value in said)


def _degrees(text: str) -> float | None:
    if not text:
        return None
    try:
        return float(text)
    except ValueError:
        raise ValueError(f'"{text[:60]}" is no latitude or longitude') from None


def _as_number(text: str) -> int:
    if text in _NO_AS_WORDS:
        return 0
    found = _AS_NUMBER.fullmatch(text)
    if not found:
        raise ValueError(f'"{text[:60]}" is no AS number')
    return int(found[1])
