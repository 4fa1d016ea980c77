"""Why a mirror stands where it does in a client's list: one sentence for people."""

from __future__ import annotations

from typing import Final

from heliostat.edge.forms.about import Source
from heliostat.model.place import Place

LEAST_SAID_MS: Final = 0.5
"""Smaller differences aren't worth a word."""


def reason(source: Source, client: Place, best_ms: float) -> str:
    """The sentence; `best_ms` is the lowest cost in the list. "" where nothing is known."""
    cost = source.cost
    if not source.mirror:
        return "The project's own server, for when no mirror can."
    if cost is None:
        return ""
    behind_ms = cost.total_ms - best_ms
    if behind_ms < LEAST_SAID_MS:
        rank = "nothing is nearer"
    elif source.share > 0:
        rank = f"{behind_ms:.0f} ms behind the best"
    else:
        rank = f"stands by, {behind_ms:.0f} ms behind the best"
    parts = [rank]
    if cost.price_ms >= LEAST_SAID_MS:
        parts.append(f"+{cost.price_ms:.0f} ms so that its line and its bytes last")
    if cost.family_ms >= LEAST_SAID_MS:
        parts.append(f"+{cost.family_ms:.0f} ms as it is reached by IPv4 only")
    return f"{_where(source, client)}: {', '.join(parts)}."


def _where(source: Source, client: Place) -> str:
    cost, place = source.cost, source.place
    assert cost is not None
    if not cost.distance_ms:
        return "Made for your network"
    if cost.as_ms < 0:
        return f"In your provider's network (AS{client.asn})" if client.asn else "In your network"
    if not client.country and not client.continent:
        return "Your place isn't known"
    if place.country and place.country == client.country:
        return "In your country"
    if place.continent and place.continent == client.continent:
        return "On your continent"
    if cost.continent_ms > 0:
        return "On another continent"
    return "In another country" if cost.country_ms > 0 else "Where it stands isn't known"
