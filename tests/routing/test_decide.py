"""decide() and explain(): eligibility, order of last resorts, and that both always agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliostat.model.decision import Answer
from heliostat.model.mirror import Mirror
from heliostat.model.place import Place
from heliostat.model.tree import Tree
from heliostat.routing.decide import decide
from heliostat.routing.explain import explain
from heliostat.routing.prices import (
    HALVING_MS,
    MOST_MS,
    RATE_ENOUGH_BYTES_PER_S,
    line_price_ms,
)
from heliostat.routing.router import NEAR_MIRRORS, Router
from heliostat.routing.shares import make_row
from heliostat.routing.world import Request, RoutedMirror, World

PLACES = [
    (Place("DE", "EU", "", 680, 50.0, 8.0), frozenset[int]()),
    (Place("US", "NA", "", 7018, 40.0, -74.0), frozenset({0})),
    (Place("JP", "AS", "", 2497, 35.7, 139.7), frozenset({1})),
    (Place(), frozenset[int]()),
]


def routed(
    name: str,
    country: str = "DE",
    latitude: float = 50.0,
    longitude: float = 8.0,
    *,
    why_out: str = "",
    https: bool = True,
    http: bool = True,
    networks: frozenset[int] = frozenset(),
    private: bool = False,
    exclude: tuple[str, ...] = (),
    max_file_bytes: int = 0,
    has_ipv4: bool = True,
    has_ipv6: bool = True,
) -> RoutedMirror:
    continent = {"DE": "EU", "FR": "EU", "US": "NA", "JP": "AS"}[country]
    mirror = Mirror(
        name,
        place=Place(country, continent, "", 0, latitude, longitude),
        private=private,
        exclude_countries=exclude,
        max_file_bytes=max_file_bytes,
        has_ipv4=has_ipv4,
        has_ipv6=has_ipv6,
    )
    return RoutedMirror(
        mirror,
        why_out,
        (f"https://{name}/t/" if https else "",),
        (f"http://{name}/t/" if http else "",),
        networks,
    )


def router_of(
    *mirrors: RoutedMirror,
    held: Sequence[bool] | None = None,
    tree: Tree = Tree("t", "/srv/t"),  # noqa: B008  a frozen value
) -> Router:
    fileset = np.array(held if held is not None else [True] * len(mirrors), dtype=np.bool_)
    return Router(World([tree], mirrors, [fileset], PLACES.__getitem__))


def request(
    zone: int = 0, *, is_https: bool = False, is_ipv6: bool = False, size_bytes: int = 1000
) -> Request:
    return Request(b"a.iso", 0, 0, size_bytes, zone, 0xC63364, is_https, is_ipv6)


def reason_against(router: Router, asked: Request, name: str) -> str:
    decision = explain(asked, router, "/a.iso", "198.51.100.1", "a.iso")
    return next(entry.reason for entry in decision.considered if entry.mirror == name)


def test_the_nearest_mirror_is_chosen() -> None:
    router = router_of(routed("de"), routed("us", "US", 40.7, -74.0))
    assert decide(request(0), router).base_url == "http://de/t/"
    assert decide(request(1), router).base_url == "http://us/t/"


@pytest.mark.parametrize(
    ("bad", "asked", "reason"),
    [
        (routed("x", why_out="is disabled"), request(), "is disabled"),
        (routed("x", https=False), request(is_https=True), "has no https endpoint that works"),
        (routed("x", has_ipv4=False), request(), "is reached over IPv6 only"),
        (routed("x", private=True), request(1), "is private to other networks"),
        (routed("x", exclude=("US",)), request(1), "does not serve clients in US"),
    ],
)
def test_a_mirror_that_may_not_serve_is_named_with_its_reason(
    bad: RoutedMirror, asked: Request, reason: str
) -> None:
    router = router_of(bad, routed("good", "JP", 35.7, 139.7))
    assert decide(asked, router).base_url.endswith("//good/t/")
    assert reason_against(router, asked, "x") == reason
    assert reason_against(router, asked, "good") == ""


def test_a_mirror_without_the_file_is_not_chosen() -> None:
    router = router_of(routed("x"), routed("good", "JP", 35.7, 139.7), held=[False, True])
    assert decide(request(), router).base_url == "http://good/t/"
    assert "does not hold this file" in reason_against(router, request(), "x")


def test_a_private_mirror_serves_its_own_networks_first() -> None:
    router = router_of(
        routed("campus", "JP", 35.7, 139.7, networks=frozenset({0}), private=True), routed("de")
    )
    assert decide(request(1), router).base_url == "http://campus/t/"


def test_an_ipv6_only_mirror_serves_ipv6_clients() -> None:
    router = router_of(routed("six", has_ipv4=False))
    assert decide(request(is_ipv6=True), router).answer is Answer.MIRROR
    assert decide(request(is_ipv6=False), router).answer is Answer.UNAVAILABLE


def test_https_is_never_answered_with_http() -> None:
    tree = Tree("t", "/srv/t", fallback=("http://f/", "https://f/"), origin="http://o/")
    router = router_of(routed("x", https=False), tree=tree)
    assert decide(request(is_https=True), router).base_url == "https://f/"
    plain_only = Tree("t", "/srv/t", fallback=("http://f/",), origin="http://o/")
    router = router_of(routed("x", https=False), tree=plain_only)
    assert decide(request(is_https=True), router).answer is Answer.UNAVAILABLE


def test_http_clients_get_https_only_where_the_tree_allows_it() -> None:
    upgrade = router_of(routed("x", http=False))
    strict = router_of(routed("x", http=False), tree=Tree("t", "/srv/t", http_may_get_https=False))
    assert decide(request(), upgrade).base_url == "https://x/t/"
    assert decide(request(), strict).answer is Answer.UNAVAILABLE


def test_http_clients_get_no_https_fallback_where_the_tree_forbids_it() -> None:
    tree = Tree("t", "r", fallback=("https://f/", "http://f/"), http_may_get_https=False)
    router = router_of(routed("x", why_out="is disabled"), tree=tree)
    assert decide(request(), router).base_url == "http://f/"


@pytest.mark.parametrize(
    ("tree", "answer", "base"),
    [
        (Tree("t", "r", fallback=("http://f/",), origin="http://o/"), Answer.FALLBACK, "http://f/"),
        (Tree("t", "r", origin="http://o/"), Answer.ORIGIN, "http://o/"),
        (Tree("t", "r"), Answer.UNAVAILABLE, ""),
    ],
)
def test_last_resorts_come_in_their_order(tree: Tree, answer: Answer, base: str) -> None:
    verdict = decide(request(), router_of(routed("x", why_out="is disabled"), tree=tree))
    assert (verdict.answer, verdict.base_url) == (answer, base)


mirror_worlds = st.lists(
    st.builds(
        routed,
        st.sampled_from(["a", "b", "c"]),
        st.sampled_from(["DE", "US", "JP"]),
        st.floats(-80, 80),
        st.floats(-180, 180),
        why_out=st.sampled_from(["", "", "", "is disabled"]),
        https=st.booleans(),
        http=st.booleans(),
        networks=st.frozensets(st.integers(0, 2)),
        private=st.booleans(),
        exclude=st.sampled_from([(), (), ("US",), ("DE", "JP")]),
        has_ipv4=st.booleans(),
    ),
    max_size=12,
)


@given(
    mirror_worlds,
    st.lists(st.booleans(), min_size=12, max_size=12),
    st.integers(0, 3),
    st.booleans(),
    st.booleans(),
)
def test_explain_and_decide_always_agree(
    mirrors: list[RoutedMirror], held: list[bool], zone: int, is_https: bool, is_ipv6: bool
) -> None:
    router = router_of(*mirrors, held=held[: len(mirrors)])
    asked = request(zone, is_https=is_https, is_ipv6=is_ipv6)
    verdict = decide(asked, router)
    eligible = {index for index in range(len(mirrors)) if not router.why_not(index, asked)}
    assert set(verdict.row.mirrors) | set(verdict.row.others) == eligible
    assert router.row(zone, 0, 0, is_https, is_ipv6).shares == verdict.row.shares
    assert (verdict.answer is Answer.MIRROR) == bool(eligible)
    if verdict.answer is Answer.MIRROR:
        assert verdict.mirror in verdict.row.mirrors
        assert verdict.base_url.startswith("https://" if is_https else "http")
    costs_ms = [router.costs_of(zone, is_ipv6).total_ms[index] for index in sorted(eligible)]
    if costs_ms:
        assert verdict.row.costs_ms[0] == min(costs_ms)


@given(
    st.integers(NEAR_MIRRORS - 2, NEAR_MIRRORS * 3),
    st.integers(0, 2**32),
    st.sampled_from([0.02, 0.1, 0.5, 0.95]),
    st.integers(0, 3),
)
def test_rows_from_the_nearest_are_those_of_all(
    count: int, seed: int, held_share: float, zone: int
) -> None:
    """What is remembered by the nearest mirrors gives the row that ranking all of them gives."""
    rng = np.random.default_rng(seed)
    countries = rng.choice(["DE", "US", "JP"], count)
    spots = rng.uniform([-60, -170], [60, 170], (count, 2))
    mirrors = [
        routed(f"m{i}", str(countries[i]), float(spots[i][0]), float(spots[i][1]))
        for i in range(count)
    ]
    filesets = [rng.random(count) < held_share for _ in range(8)]
    world = World([Tree("t", "/srv/t")], mirrors, filesets, PLACES.__getitem__)
    router = Router(world)
    total_ms = router.costs_of(zone, False).total_ms
    for fileset, held in enumerate(filesets):
        ranked = sorted((float(total_ms[i]), i) for i in range(count) if held[i])
        expected = make_row(ranked, world.weights)
        for _ in range(2):
            row = router.row(zone, 0, fileset, False, False)
            assert (row.mirrors, row.shares) == (expected.mirrors, expected.shares)
            assert row.others == expected.others[: len(row.others)]


def test_no_fallback_serves_metadata() -> None:
    tree = Tree(
        "t",
        "/srv/t",
        prefix="/püb/",
        fallback=("http://fallback/",),
        origin="http://origin/",
        metadata=("repodata/*.xml",),
    )
    router = router_of(routed("de"), held=[False], tree=tree)
    for relative, base in {
        "repodata/repomd.xml": "http://origin/",
        "other/repodata/repomd.xml": "http://fallback/",
        "a.iso": "http://fallback/",
    }.items():
        asked = replace(request(), path=f"püb/{relative}".encode())
        assert decide(asked, router).base_url == base


def test_a_family_that_is_broken_there_takes_only_its_clients_away() -> None:
    world = router_of(routed("de"), routed("us", "US", 40.7, -74.0)).world
    router = Router(replace(world, broken=frozenset({("de", "http", 6)})))
    assert decide(request(0), router).base_url == "http://de/t/"
    assert decide(request(0, is_ipv6=True), router).base_url == "http://us/t/"
    assert decide(request(0, is_https=True, is_ipv6=True), router).base_url == "https://de/t/"


def test_who_has_no_ipv6_at_all_serves_its_clients_by_ipv4() -> None:
    world = router_of(routed("de", has_ipv6=False)).world
    router = Router(replace(world, broken=frozenset({("de", "http", 6)})))
    assert decide(request(0, is_ipv6=True), router).base_url == "http://de/t/"


def test_a_slow_line_is_left_for_a_fast_one_that_is_not_too_far() -> None:
    assert line_price_ms(None) == line_price_ms(RATE_ENOUGH_BYTES_PER_S) == 0
    assert line_price_ms(RATE_ENOUGH_BYTES_PER_S / 8) == 3 * HALVING_MS
    assert line_price_ms(0) == MOST_MS
    near, far = routed("de"), routed("fr", "FR", 48.9, 2.4)
    world = router_of(near, far).world
    slow = Router(replace(world, price_ms=[line_price_ms(500_000), 0.0]))
    assert decide(request(0), slow).base_url == "http://fr/t/"
    assert decide(request(0), Router(world)).base_url == "http://de/t/"
