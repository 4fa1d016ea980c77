"""Mirrors with a budget, a rule, or points of presence: who is used for what, and why not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from heliostat.model.decision import Answer
from heliostat.model.mirror import MirrorKind
from heliostat.model.place import Place
from heliostat.model.tree import Tree
from heliostat.routing import constants as c
from heliostat.routing.costs import MirrorColumns, costs
from heliostat.routing.decide import decide
from heliostat.routing.explain import explain
from heliostat.routing.router import Router
from heliostat.routing.shares import make_row
from heliostat.routing.world import RoutedMirror, World
from tests.routing.test_decide import PLACES, request, routed

FRANKFURT = (50.1, 8.7)
TOKYO = (35.7, 139.7)


def cdn(
    name: str = "cdn",
    *,
    charged: bool = True,
    beyond_ms: float = 0.0,
    first_hours: float = 0.0,
    pops: tuple[tuple[float, float], ...] = (),
) -> RoutedMirror:
    plain = routed(name)
    mirror = replace(
        plain.mirror,
        kind=MirrorKind.CDN,
        place=Place(),
        only_beyond_ms=beyond_ms,
        first_hours=first_hours,
        pops=pops,
    )
    return replace(plain, mirror=mirror, charged=charged)


def world_of(
    *mirrors: RoutedMirror,
    filesets: Sequence[Sequence[bool]] = (),
    fallback: bool = False,
    fresh: Sequence[int] = (),
) -> World:
    tree = Tree("t", "/srv/t", fallback=("http://fallback/",) if fallback else ())
    held = filesets or [[True] * len(mirrors)]
    return World(
        [tree],
        mirrors,
        [np.array(one, dtype=np.bool_) for one in held],
        PLACES.__getitem__,
        fresh=frozenset(fresh),
    )


def test_a_cdn_costs_the_way_to_its_nearest_point_of_presence_and_crosses_no_border() -> None:
    mirrors = [cdn(pops=(FRANKFURT, TOKYO)).mirror, cdn().mirror, routed("de").mirror]
    columns = MirrorColumns.of(mirrors, [frozenset()] * 3)
    near_tokyo = costs(PLACES[2][0], frozenset(), False, columns)
    assert near_tokyo.total_ms[0] == near_tokyo.distance_ms[0]
    assert near_tokyo.total_ms[0] < c.BASE_MS + 10 * c.MS_PER_KM
    assert near_tokyo.total_ms[1] == c.BASE_MS + c.CDN_KM * c.MS_PER_KM
    assert near_tokyo.total_ms[2] > 100
    nowhere = costs(PLACES[3][0], frozenset(), False, columns)
    assert nowhere.total_ms[0] == nowhere.total_ms[1] == c.BASE_MS + c.CDN_KM * c.MS_PER_KM


def test_a_mirror_whose_allowance_is_used_up_is_out_and_comes_back() -> None:
    router = Router(world_of(cdn(), routed("de")), spent={0})
    asked = request(2)  # from Japan
    verdict = decide(asked, router)
    assert verdict.base_url == "http://de/t/"
    assert 0 not in verdict.turn
    assert "allowance" in router.why_not(0, asked)
    router.set_spent((), ())
    assert decide(asked, router).base_url == "http://cdn/t/"
    assert not router.why_not(0, asked)


def test_files_that_only_a_budget_holds_draw_on_the_reserve_then_on_the_fallback() -> None:
    held = [[True, True], [True, False]]
    router = Router(world_of(cdn(), routed("de"), filesets=held, fallback=True))
    everyones, new = request(2), replace(request(2), fileset=1)
    router.set_spent({0}, ())
    assert decide(everyones, router).base_url == "http://de/t/"
    assert decide(new, router).base_url == "http://cdn/t/"
    assert router.is_by_reserve(router.holders(1, 0, False, False))
    assert not router.is_by_reserve(router.holders(0, 0, False, False))
    router.set_spent({0}, {0})
    assert decide(new, router).answer is Answer.FALLBACK
    assert "allowance" in explain(new, router, "/f", "192.0.2.1", "f").considered[0].reason


def test_a_private_mirror_is_no_reason_to_spare_the_reserve() -> None:
    private = routed("inside", private=True, networks=frozenset({1}))
    router = Router(world_of(cdn(), private), spent={0})
    assert decide(request(0), router).base_url == "http://cdn/t/"


def test_only_beyond_keeps_a_cdn_out_where_a_mirror_is_near() -> None:
    router = Router(world_of(cdn(beyond_ms=40), routed("de")))
    assert decide(request(0), router).row.mirrors == (1,)
    assert decide(request(0), router).turn == (1,)
    assert "within 40 ms" in router.why_not(0, request(0))
    assert decide(request(2), router).base_url == "http://cdn/t/"
    alone = Router(world_of(cdn(beyond_ms=40), routed("de"), filesets=[[True, False]]))
    assert decide(request(0), alone).base_url == "http://cdn/t/"


def test_only_beyond_goes_by_the_distance_not_by_a_price_of_the_hour() -> None:
    world = replace(world_of(cdn(beyond_ms=40), routed("de")), price_ms=[0.0, 80.0])
    assert decide(request(0), Router(world)).base_url == "http://de/t/"


def test_new_files_go_to_their_first_choice_and_then_to_the_others() -> None:
    held = [[True, True], [True, True]]
    router = Router(world_of(cdn(first_hours=24), routed("de"), filesets=held, fresh=[1]))
    fresh = replace(request(0), fileset=1)
    for _ in range(2):
        assert decide(fresh, router).turn == (0, 1)
        assert decide(request(0), router).turn[0] == 1
    assert decide(fresh, router, skip=1).base_url == "http://de/t/"
    router.set_spent({0}, {0})
    assert decide(fresh, router).base_url == "http://de/t/"


@given(
    st.integers(0, 2**32),
    st.integers(2, 60),
    st.integers(0, 3),
    st.floats(0, 120),
    st.booleans(),
    st.sets(st.integers(0, 5)),
)
def test_rows_from_the_nearest_are_those_of_all_with_rules_and_prices_too(
    seed: int, count: int, zone: int, beyond_ms: float, is_new: bool, spent: set[int]
) -> None:
    rng = np.random.default_rng(seed)
    mirrors = [
        cdn("c0", beyond_ms=beyond_ms),
        cdn("c1", first_hours=5, pops=(FRANKFURT,)),
        *(
            routed(f"m{i}", "DE", float(rng.uniform(-60, 60)), float(rng.uniform(-170, 170)))
            for i in range(count)
        ),
    ]
    held = [rng.random(len(mirrors)) < 0.6 for _ in range(6)]
    world = replace(
        world_of(*mirrors, filesets=[one.tolist() for one in held]),
        price_ms=np.where(rng.random(len(mirrors)) < 0.3, rng.uniform(0, 90), 0.0).tolist(),
        fresh=frozenset(range(6)) if is_new else frozenset(),
    )
    router = Router(world, spent=spent, spent_reserve=spent)
    total_ms = router.costs_of(zone, False).total_ms
    for fileset in range(6):
        asked = replace(request(zone), fileset=fileset)
        row = router.row(zone, 0, fileset, False, False)
        eligible = {i for i in range(len(mirrors)) if not router.why_not(i, asked)}
        in_order = sorted((float(total_ms[i]), i) for i in eligible)
        first = [entry for entry in in_order if entry[1] == 1] if is_new else []
        expected = make_row(first or in_order, world.weights)
        assert row.mirrors == expected.mirrors
        assert row.shares == expected.shares
        for index in row.mirrors:
            assert index not in spent or not world.mirrors[index].charged
