"""Every number that routing goes by, in one table, each with its reason.

The first four come from a least-absolute-deviation fit of round-trip times between 215 cities
(22,986 pairs): 8.2 ms, 0.0161 ms/km, 6.4 ms, 4.1 ms.
"""

from __future__ import annotations

from typing import Final

BASE_MS: Final = 8.0
"""What any path costs: the last mile and the first router."""

MS_PER_KM: Final = 0.016
"""Light in fibre needs 0.01 ms/km there and back; real paths are 1.6 times as long."""

OTHER_COUNTRY_MS: Final = 6.0
"""Networks meet inside countries: a border adds a detour to the next exchange."""

OTHER_CONTINENT_MS: Final = 4.0
"""Few cables, few landing points: a detour on top of the distance."""

SAME_AS_MS: Final = -2.0
"""Traffic that stays in one network meets no congested exchange."""

IPV4_ONLY_FOR_IPV6_MS: Final = 3.0
"""Most IPv6 clients have IPv4, too, but some reach it through a translator."""

SAME_COUNTRY_KM: Final = 600.0
"""Distance assumed inside a country when one of the two positions is unknown."""

SAME_CONTINENT_KM: Final = 3000.0
"""The same inside a continent."""

OTHER_CONTINENT_KM: Final = 9000.0
"""The same across continents, and when nothing is known at all."""

CDN_KM: Final = 600.0
"""To a CDN that names no points of presence: it is in most countries, as far as a mirror there."""

CANDIDATE_RATIO: Final = 1.15
"""A mirror this much dearer than the best is still as good to a person."""

CANDIDATE_EXTRA_MS: Final = 6.0
"""Near the best, differences under this are noise of the estimate."""

MAX_CANDIDATES: Final = 8
"""More would spread caches thin without adding choice."""

SHARE_SCALE_MS: Final = 3.0
"""How fast a mirror's share falls with its cost; costs 1 to 3 % of mean round-trip time."""

UNKNOWN_BANDWIDTH_MBPS: Final = 1000
"""Weight of a mirror that declares no bandwidth: the most common line of volunteers."""
