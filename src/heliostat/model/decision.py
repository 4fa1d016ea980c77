"""A decision: the answer to one request, with every mirror considered and why."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from heliostat.model.place import Place


class Answer(StrEnum):
    """Where a request for a path ends; tried in this order."""

    MIRROR = "mirror"
    FALLBACK = "fallback"
    """No mirror can serve it: the tree's fallback does."""
    ORIGIN = "origin"
    """Not even a fallback: the project's own server."""
    UNAVAILABLE = "unavailable"
    """In the catalog, but nobody can serve it now: 503."""
    MISSING = "missing"
    """Not in the catalog: 404."""


@dataclass(frozen=True, slots=True)
class CostParts:
    """One mirror's cost taken apart, in milliseconds; the total is their sum."""

    distance_ms: float
    country_ms: float
    continent_ms: float
    as_ms: float
    family_ms: float
    price_ms: float

    @property
    def total_ms(self) -> float:
        return (
            self.distance_ms
            + self.country_ms
            + self.continent_ms
            + self.as_ms
            + self.family_ms
            + self.price_ms
        )

    def __str__(self) -> str:
        """The parts that aren't 0, as a sum."""
        said = [f"{name} {value:.1f}" for name, value in self.named().items() if value]
        return " + ".join(said).replace("+ as -", "- as ") or "its own network 0"

    def named(self) -> dict[str, float]:
        """Name → milliseconds, for people and programs."""
        return {
            "distance": round(self.distance_ms, 2),
            "as": round(self.as_ms, 2),
            "country": round(self.country_ms, 2),
            "continent": round(self.continent_ms, 2),
            "family": round(self.family_ms, 2),
            "price": round(self.price_ms, 2),
        }


@dataclass(frozen=True, slots=True)
class Considered:
    """One mirror as it was looked at for one request."""

    mirror: str
    eligible: bool
    reason: str
    """Why it isn't eligible; "" when it is."""
    cost: CostParts

    def to_json(self) -> dict[str, Any]:
        return {
            "mirror": self.mirror,
            "eligible": self.eligible,
            "reason": self.reason,
            "cost_ms": round(self.cost.total_ms, 2),
            "cost": self.cost.named(),
        }


@dataclass(frozen=True, slots=True)
class Candidate:
    """One of the mirrors a request is shared among; `share` is in [0, 1], all sum to 1."""

    mirror: str
    cost_ms: float
    share: float

    def to_json(self) -> dict[str, Any]:
        return {
            "mirror": self.mirror,
            "cost_ms": round(self.cost_ms, 2),
            "share": round(self.share, 4),
        }


@dataclass(frozen=True, slots=True)
class Decision:
    """Everything about the answer to one request, for people."""

    path: str
    address: str
    place: Place
    zone: int
    answer: Answer
    choice: str
    """The mirror's name; "" when the answer isn't a mirror."""
    location: str
    candidates: tuple[Candidate, ...] = ()
    considered: tuple[Considered, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The form that `heliostat explain --json` and `/-/explain/` give."""
        return {
            "path": self.path,
            "client": {
                "address": self.address,
                "country": self.place.country or None,
                "continent": self.place.continent or None,
                "asn": self.place.asn or None,
                "latitude": self.place.latitude,
                "longitude": self.place.longitude,
                "zone": self.zone,
            },
            "answer": str(self.answer),
            "choice": self.choice or None,
            "location": self.location or None,
            "candidates": [candidate.to_json() for candidate in self.candidates],
            "considered": [considered.to_json() for considered in self.considered],
        }
