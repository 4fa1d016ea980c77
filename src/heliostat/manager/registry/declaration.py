"""A declaration: all that one mirror's file says, and how two of them are compared."""

from __future__ import annotations

from dataclasses import dataclass

from heliostat.model.mirror import Mirror


@dataclass(frozen=True, slots=True)
class Budget:
    """Transfer a mirror gives us a month, counted anew from `reset_day` (1–28), UTC."""

    bytes_per_month: int
    reset_day: int = 1


@dataclass(frozen=True, slots=True)
class Declaration:
    """`mirror.enabled` is the file's word here, whatever an operator paused by hand."""

    mirror: Mirror
    city: str = ""
    budget: Budget | None = None

    def fields(self) -> dict[str, str]:
        """Every field as people write it in the file, by its key there; for plans."""
        mirror, place = self.mirror, self.mirror.place
        fields = {
            "kind": mirror.kind.value,
            "sponsor": mirror.sponsor,
            "enabled": _bool(mirror.enabled),
            "country": place.country,
            "subdivision": place.subdivision,
            "city": self.city,
            "latitude": _number(place.latitude),
            "longitude": _number(place.longitude),
            "asn": ", ".join(str(asn) for asn in mirror.asns),
            "networks": ", ".join(mirror.networks),
            "private": _bool(mirror.private),
            "bandwidth_mbps": str(mirror.bandwidth_mbps),
            "exclude_countries": ", ".join(mirror.exclude_countries),
            "max_file_bytes": str(mirror.max_file_bytes),
            "time_zone": mirror.time_zone,
            "scan_hours": mirror.scan_hours,
            "requests_per_s": f"{mirror.requests_per_s:g}" if mirror.requests_per_s else "",
            "verify_bytes_per_day": (
                str(mirror.verify_bytes_per_day) if mirror.verify_bytes_per_day >= 0 else ""
            ),
            "budget.bytes_per_month": str(self.budget.bytes_per_month) if self.budget else "",
            "budget.reset_day": str(self.budget.reset_day) if self.budget else "",
        }
        for endpoint in mirror.endpoints:
            fields[f"url.{endpoint.tree}.{endpoint.scheme}"] = endpoint.url
        return fields


def _bool(value: bool) -> str:
    return "true" if value else "false"


def _number(value: float | None) -> str:
    return "" if value is None else repr(float(value))
