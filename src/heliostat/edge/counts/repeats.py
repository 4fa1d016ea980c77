"""Which mirrors do clients come back from? Repeats by mirror, and those that have too many.

Promises: it only reports; the watch looks, and only what the watch sees takes a mirror out. A
client's network (/24, /48) counts once a mirror and window, however often it repeats. Memory is
bounded.

Theory. Mirror i got n_i redirects in the window and k_i repeats of distinct networks; its peers
together n and k. If both have the same rate, then given k_i + k the first is binomial with chance
n_i / (n_i + n) (the exact comparison of two Poisson rates: Przyborowski and Wilenski, Biometrika
31, 1940). Mirrors do differ a little, by who their clients are, hence the null hypothesis is that
a mirror's rate is at most MARGIN times its peers'; mid-p values, one-sided. Over all mirrors the
false discovery rate is held at FALSE_DISCOVERIES (Benjamini and Hochberg, JRSS B 57, 1995). A
mirror that is found is taken out of the peers of the others, and they are tested again, so that
one very bad mirror doesn't hide another.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

BUCKET_S: Final = 60.0
BUCKETS: Final = 10
"""The window: ten minutes, enough for some hundred redirects to a small mirror."""

MARGIN: Final = 1.5
"""Rates up to this times the peers' are nobody's fault: clients that retry by habit cluster."""

FALSE_DISCOVERIES: Final = 0.01
"""Expected part of mirrors without fault among those reported."""

LEAST_REPEATS: Final = 10
"""Repeats of distinct networks below which a mirror is never reported."""

MAX_NETWORKS: Final = 4_096
"""Distinct networks told apart a mirror and window; more don't count."""

MAX_ALL_NETWORKS: Final = 200_000
"""The same of all mirrors together: about 20 MB in the worst case."""

_ROUNDS: Final = 10
_NEGLIGIBLE: Final = 1e-12


@dataclass(frozen=True, slots=True)
class Suspicion:
    """A mirror that clients come back from more than from its peers, in the window."""

    mirror: str
    redirects: int
    repeats: int
    """Of distinct networks."""
    expected: float
    """Repeats it would have at its peers' rate."""
    p: float
    """The test's, before correction for the number of mirrors."""

    def __str__(self) -> str:
        return (
            f"clients of {self.repeats} networks asked again after they were sent to {self.mirror}"
            f" ({self.redirects} redirects; at its peers' rate {self.expected:.1f})"
        )


@dataclass(slots=True)
class _Bucket:
    began_at: float
    redirects: dict[str, int] = field(default_factory=dict)
    networks: dict[str, set[int]] = field(default_factory=dict)
    """Clients' networks that were first seen to repeat in this bucket, by mirror."""


class RepeatWindow:
    """The window. Times are of any clock that only goes forward, in seconds."""

    def __init__(self) -> None:
        self._buckets: deque[_Bucket] = deque()
        self._networks = 0

    def redirected(self, mirrors: Mapping[str, int], now: float) -> None:
        """Redirects by mirror."""
        redirects = self._bucket(now).redirects
        for mirror, count in mirrors.items():
            redirects[mirror] = redirects.get(mirror, 0) + count

    def repeated(self, mirror: str, network: int, now: float) -> None:
        """A client of that network (any number for it) came back after it was sent to `mirror`."""
        current = self._bucket(now)
        known = 0
        for bucket in self._buckets:
            networks = bucket.networks.get(mirror)
            if networks:
                if network in networks:
                    return
                known += len(networks)
        if known < MAX_NETWORKS and self._networks < MAX_ALL_NETWORKS:
            current.networks.setdefault(mirror, set()).add(network)
            self._networks += 1

    def suspicions(self, now: float) -> list[Suspicion]:
        """Who has significantly more repeats than its peers, the clearest first."""
        self._bucket(now)
        redirects: dict[str, int] = {}
        repeats: dict[str, int] = {}
        for bucket in self._buckets:
            for mirror, count in bucket.redirects.items():
                redirects[mirror] = redirects.get(mirror, 0) + count
            for mirror, networks in bucket.networks.items():
                repeats[mirror] = repeats.get(mirror, 0) + len(networks)
        return find_suspicious(redirects, repeats)

    def _bucket(self, now: float) -> _Bucket:
        """The current bucket; those out of the window are dropped."""
        buckets = self._buckets
        if not buckets or now - buckets[-1].began_at >= BUCKET_S:
            buckets.append(_Bucket(now))
        while len(buckets) > BUCKETS or now - buckets[0].began_at >= BUCKETS * BUCKET_S + BUCKET_S:
            gone = buckets.popleft()
            self._networks -= sum(map(len, gone.networks.values()))
        return buckets[-1]


def find_suspicious(redirects: Mapping[str, int], repeats: Mapping[str, int]) -> list[Suspicion]:
    """The test above on counts by mirror; repeats of mirrors without redirects don't count."""
    found: dict[str, Suspicion] = {}
    seen = {mirror: (repeats.get(mirror, 0), count) for mirror, count in redirects.items() if count}
    # A repeat is one of the redirects; after late frames there may seem to be more.
    seen = {mirror: (min(k, n), n) for mirror, (k, n) in seen.items()}
    for _ in range(_ROUNDS):
        all_k = sum(k for mirror, (k, _) in seen.items() if mirror not in found)
        all_n = sum(n for mirror, (_, n) in seen.items() if mirror not in found)
        tested = []
        for mirror, (k, n) in seen.items():
            own = (0, 0) if mirror in found else (k, n)
            other_k, other_n = all_k - own[0], all_n - own[1]
            p = excess_p(k, n, other_k, other_n) if k >= LEAST_REPEATS and other_n else 1.0
            expected = n * other_k / other_n if other_n else 0.0
            tested.append(Suspicion(mirror, n, k, expected, p))
        tested.sort(key=lambda one: (one.p, one.mirror))
        last = max(
            (
                rank
                for rank, one in enumerate(tested, 1)
                if one.p <= FALSE_DISCOVERIES * rank / len(tested)
            ),
            default=0,
        )
        fresh = {one.mirror: one for one in tested[:last] if one.p < 1.0}
        if fresh.keys() <= found.keys():
            break
        found |= fresh
        if len(found) > len(seen) // 2:  # not "more than its peers" any more: there are none
            break
    return sorted(found.values(), key=lambda one: (one.p, one.mirror))


def excess_p(k: int, n: int, other_k: int, other_n: int, margin: float = MARGIN) -> float:
    """One-sided mid-p of k in n against other_k in other_n, H0: rate ≤ margin × the others'.

    1.0 where k isn't even above what H0 expects.
    """
    total = k + other_k
    chance = margin * n / (margin * n + other_n)
    if total == 0 or k <= total * chance:
        return 1.0
    term = math.exp(
        math.lgamma(total + 1)
        - math.lgamma(k + 1)
        - math.lgamma(other_k + 1)
        + k * math.log(chance)
        + other_k * math.log1p(-chance)
    )
    odds = chance / (1 - chance)
    p = term / 2
    for at in range(k, total):  # above the mean each term is smaller than the one before
        term *= (total - at) / (at + 1) * odds
        p += term
        if term <= p * _NEGLIGIBLE:
            break
    return min(1.0, p)
