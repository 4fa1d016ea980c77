"""Attributions of the geo data in use, as their licences ask: for people and for the state."""

from __future__ import annotations

from heliostat.geo.layers import SourceInfo
from heliostat.geo.licences import NOT_STATED
from heliostat.geo.table import PlaceTable


def notices(table: PlaceTable) -> tuple[str, ...]:
    """One sentence a source: attribution, licence, which file, its date, that it was changed."""
    return tuple(notice_of(info) for info in table.sources)


def notice_of(info: SourceInfo) -> str:
    """The sentence for one source."""
    built = f", built {info.built_at:%Y-%m-%d}" if info.built_at else ""
    credit = info.attribution or f"Places from {info.name}"
    licence = info.licence or NOT_STATED
    return f"{credit}. Licence: {licence}. Source: {info.name}{built}; joined and simplified."
