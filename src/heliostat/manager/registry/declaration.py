"""A declaration: all that one mirror's file says, and how two of them are compared."""

from __future__ import annotations

from dataclasses import dataclass
from dataclasses import fields as fields_of

from heliostat.model.budget import Budget, Capacity, ProviderSource
from heliostat.model.mirror import Mirror

_PROVIDER_KEYS = tuple(field.name for field in fields_of(ProviderSource))
_BUDGET_KEYS = tuple(field.name for field in fields_of(Budget) if field.name != "provider")
_CAPACITY_KEYS = tuple(field.name for field in fields_of(Capacity))


@dataclass(frozen=True, slots=True)
class Declaration:
    """`mirror.enabled` is the file's word here, whatever an operator paused by hand."""

    mirror: Mirror
    city: str = ""
    token_sha256: str = ""
    """Of the token that the mirror's own machine tells with that a pull is done; "": none may."""

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
            "requests_per_s": _less(mirror.requests_per_s),
            "verify_bytes_per_day": (
                str(mirror.verify_bytes_per_day) if mirror.verify_bytes_per_day >= 0 else ""
            ),
            "priority.only_beyond_ms": f"{mirror.only_beyond_ms:g}"
            if mirror.only_beyond_ms
            else "",
            "priority.first_hours": _less(mirror.first_hours),
            "pop": "; ".join(f"{latitude:g}, {longitude:g}" for latitude, longitude in mirror.pops),
            "token_sha256": self.token_sha256,
            **_scarce(mirror),
        }
        for endpoint in mirror.endpoints:
            fields[f"url.{endpoint.tree}.{endpoint.scheme}"] = endpoint.url
        return fields


def _scarce(mirror: Mirror) -> dict[str, str]:
    """Budget and capacity, key by key; "" where there is none."""
    fields: dict[str, str] = {}
    for name, keys, section in (
        ("budget", _BUDGET_KEYS, mirror.budget),
        ("budget.provider", _PROVIDER_KEYS, mirror.budget.provider if mirror.budget else None),
        ("capacity", _CAPACITY_KEYS, mirror.capacity),
    ):
        for key in keys:
            value = getattr(section, key) if section else ""
            fields[f"{name}.{key}"] = f"{value:g}" if isinstance(value, float) else str(value)
    return fields


def _less(value: float) -> str:
    """ "" for 0, which stands for nothing here."""
    return f"{value:g}" if value else ""


def _bool(value: bool) -> str:
    return "true" if value else "false"


def _number(value: float | None) -> str:
    return "" if value is None else repr(float(value))
