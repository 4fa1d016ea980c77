"""Where nothing is scarce, rows are those of DESIGN §5, written out here once more by hand."""

from __future__ import annotations

import math
import random
from itertools import pairwise

import numpy as np
import pytest

from heliostat.model.mirror import Mirror, MirrorKind
from heliostat.model.place import EARTH_RADIUS_KM, Place
from heliostat.model.tree import Tree
from heliostat.routing.router import Router
from heliostat.routing.shares import HASH_SPAN
from heliostat.routing.world import RoutedMirror, World

COUNTRIES = [("DE", "EU"), ("FR", "EU"), ("US", "NA"), ("JP", "AS"), ("", "")]


def some_place(rng: random.Random) -> Place:
    country, continent = rng.choice(COUNTRIES)
    asn = rng.choice([0, 680, 7018])
    if rng.random() < 0.2:
        return Place(country, continent, "", asn, None, None)
    return Place(country, continent, "", asn, rng.uniform(-60, 70), rng.uniform(-180, 180))


def km_between(one: Place, other: Place) -> float | None:
    if one.latitude is None or one.longitude is None:
        return None
    if other.latitude is None or other.longitude is None:
        return None
    a, b = math.radians(one.latitude), math.radians(other.latitude)
    half = math.radians(other.longitude - one.longitude) / 2
    root = math.sin((b - a) / 2) ** 2 + math.cos(a) * math.cos(b) * math.sin(half) ** 2
    return 2 * EARTH_RADIUS_KM * math.asin(min(1.0, math.sqrt(root)))


def cost_ms(client: Place, mirror: Mirror, *, is_ipv6: bool) -> float:
    here = mirror.place
    is_country = bool(client.country) and client.country == here.country
    is_continent = is_country or (bool(client.continent) and client.continent == here.continent)
    km = km_between(client, here)
    if km is None:
        km = 600.0 if is_country else 3000.0 if is_continent else 9000.0
    total = 8 + 0.016 * km + 6 * (not is_country) + 4 * (not is_continent)
    total -= 2 * (client.asn != 0 and client.asn in mirror.asns)
    return total + 3 * (is_ipv6 and not mirror.has_ipv6)


@pytest.mark.parametrize("seed", range(8))
def test_rows_are_those_of_the_plain_formula(seed: int) -> None:
    rng = random.Random(seed)
    mirrors = [
        RoutedMirror(
            Mirror(
                f"m{number}",
                kind=MirrorKind.MIRROR,
                place=some_place(rng),
                asns=(680,) if rng.random() < 0.1 else (),
                bandwidth_mbps=rng.choice([0, 100, 1000, 10_000]),
                has_ipv6=rng.random() < 0.7,
            ),
            "",
            (f"https://m{number}/",),
            ("",),
        )
        for number in range(rng.randint(1, 100))
    ]
    held = np.array([rng.random() < 0.6 for _ in mirrors])
    clients = [some_place(rng) for _ in range(40)]
    world = World([Tree("t", "/srv/t")], mirrors, [held], lambda zone: (clients[zone], frozenset()))
    router = Router(world)
    for zone, client in enumerate(clients):
        for is_ipv6 in (False, True):
            row = router.row(zone, 0, 0, True, is_ipv6)
            costs = {
                index: cost_ms(client, one.mirror, is_ipv6=is_ipv6)
                for index, one in enumerate(mirrors)
                if held[index]
            }
            if not costs:
                assert not row.mirrors
                continue
            best = min(costs.values())
            near = [i for i in costs if costs[i] <= max(best * 1.15, best + 6)]
            wanted = sorted(near, key=costs.__getitem__)[:8]
            assert [costs[i] for i in row.mirrors] == pytest.approx([costs[i] for i in wanted])
            assert list(row.costs_ms) == pytest.approx([costs[i] for i in row.mirrors])
            parts = [
                (mirrors[i].mirror.bandwidth_mbps or 1000) * math.exp((best - costs[i]) / 3)
                for i in row.mirrors
            ]
            expected = [part / sum(parts) for part in parts]
            assert list(row.shares) == pytest.approx(expected, abs=2 / HASH_SPAN)
            behind = [costs[i] for i in (*row.mirrors, *row.others)]
            assert all(first <= second for first, second in pairwise(behind))
