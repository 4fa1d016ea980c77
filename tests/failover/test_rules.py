"""The rules for plans and votes, for any nodes whatever."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliostat.failover.errors import UnsafeError
from heliostat.failover.records import FAMILIES, Addresses, Difference, addresses_of, check
from heliostat.failover.votes import FALL, FRESH_S, RISE, Look, View, decide
from heliostat.model.node import Node


def node(number: int, has4: bool = True, has6: bool = True) -> Node:
    return Node(
        f"n{number}",
        ipv4=(f"192.0.2.{number}",) if has4 else (),
        ipv6=(f"2001:db8::{number:x}",) if has6 or not has4 else (),
    )


some_nodes = st.lists(
    st.builds(node, st.integers(1, 60), st.booleans(), st.booleans()),
    min_size=1,
    max_size=40,
    unique_by=lambda one: one.name,
)


@given(some_nodes, st.data(), st.booleans())
def test_no_plan_takes_the_last_address_however_it_is_forced(
    nodes: list[Node], data: st.DataObject, force: bool
) -> None:
    left = data.draw(st.lists(st.sampled_from(nodes), unique_by=lambda one: one.name))
    before, after = addresses_of(nodes), addresses_of(left)
    lost_a_family = any(before[family] and not after[family] for family in FAMILIES)
    refused = _refusal(before, after, nodes, force)
    if refused:
        assert lost_a_family or not force, refused
        return
    assert not lost_a_family
    if not force:
        change = Difference.between(before, after)
        total = sum(map(len, before.values()))
        assert total < 20 or change.count <= 0.3 * total
        assert total >= 20 or len(nodes) - len(left) <= 1


def _refusal(before: Addresses, after: Addresses, nodes: list[Node], force: bool) -> str:
    try:
        check(before, after, nodes, force=force)
    except UnsafeError as error:
        return str(error)
    return ""


def test_the_share_counts_from_twenty_records_on() -> None:
    nodes = [node(number) for number in range(1, 21)]
    check(addresses_of(nodes), addresses_of(nodes[6:]), nodes)
    with pytest.raises(UnsafeError, match="more than 30%"):
        check(addresses_of(nodes), addresses_of(nodes[7:]), nodes)
    check(addresses_of(nodes), addresses_of(nodes[7:]), nodes, force=True)


@given(st.integers(3, 9), st.data())
def test_a_majority_is_needed_and_nobody_votes_on_itself(count: int, data: st.DataObject) -> None:
    names = [f"n{number}" for number in range(count)]
    sets = st.frozensets(st.sampled_from(names))
    heard = data.draw(st.lists(st.sampled_from(names[1:]), unique=True))
    views = {name: View(0.0, data.draw(sets)) for name in heard}
    mine = View(0.0, data.draw(sets))
    verdict = decide(
        "n0", names, mine, views, [], reaches_reference=data.draw(st.booleans()), now_s=0.0
    )
    for name in verdict.out:
        against = [
            v for v, view in {**views, "n0": mine}.items() if v != name and name in view.down
        ]
        assert 2 * len(against) > count
    assert verdict.out < set(names)
    if 2 * (len(heard) + 1) <= count:
        assert verdict.why_not


@given(st.booleans(), st.booleans(), st.booleans(), st.booleans(), st.booleans())
def test_of_two_a_node_never_takes_itself_out(
    own_down: bool, peer_down: bool, reaches: bool, own_out: bool, peer_heard: bool
) -> None:
    down = frozenset(n for n, is_down in (("a", own_down), ("b", peer_down)) if is_down)
    views = {"b": View(0.0, frozenset())} if peer_heard else {}
    out = ["a"] if own_out else []
    verdict = decide("a", ["a", "b"], View(0, down), views, out, reaches_reference=reaches, now_s=1)
    assert "a" not in verdict.out or own_out
    if not reaches or own_down:
        assert verdict.out == set(out)
    if peer_down and reaches and not own_down and not own_out:
        assert verdict.out == {"b"}


def test_a_view_that_is_old_counts_for_nothing() -> None:
    names = ["a", "b", "c"]
    down = frozenset("c")
    for age_s, out in ((FRESH_S - 1, {"c"}), (FRESH_S + 1, set())):
        verdict = decide(
            "a",
            names,
            View(1000, down),
            {"b": View(1000 - age_s, down)},
            [],
            reaches_reference=True,
            now_s=1000,
        )
        assert verdict.out == out


def test_a_node_that_flaps_waits_longer_each_time() -> None:
    look, now_s = Look(), 0.0
    waits: list[int] = []
    for _ in range(5):
        for _ in range(FALL):
            look.saw("timed out", now_s)
        assert look.is_down
        tries = 0
        while look.is_down:
            now_s += 1
            tries += 1
            look.saw("", now_s)
        waits.append(tries)
    assert waits[0] == RISE
    assert all(later == 2 * earlier for earlier, later in pairwise(waits))


@given(st.lists(st.booleans(), max_size=200))
def test_few_failures_in_a_row_are_no_death(oks: list[bool]) -> None:
    look, in_a_row = Look(), 0
    for now_s, ok in enumerate(oks):
        in_a_row = 0 if ok else in_a_row + 1
        was_down = look.is_down
        look.saw("" if ok else "timed out", now_s)
        if look.is_down and not was_down:
            assert in_a_row >= FALL


def test_what_is_meant_counts_at_once_and_is_no_flapping() -> None:
    look = Look()
    assert look.saw("answers 503: draining", 0, is_meant=True)
    assert look.is_down
    assert look.needed(0) == RISE
