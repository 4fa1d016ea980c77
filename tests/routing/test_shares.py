"""Candidates, shares and the stable choice."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliostat.routing.shares import EMPTY_ROW, HASH_SPAN, MAX_OTHERS, choice_hash, make_row

ranked_lists = st.lists(st.floats(0, 400), min_size=1, max_size=60).map(
    lambda values: [(cost, index) for index, cost in enumerate(sorted(values))]
)


def test_nobody_eligible_gives_an_empty_row() -> None:
    assert make_row([], []) is EMPTY_ROW


def test_candidates_are_within_fifteen_percent_or_six_ms() -> None:
    near = make_row([(10.0, 0), (16.0, 1), (16.1, 2)], [1, 1, 1])
    far = make_row([(100.0, 0), (114.9, 1), (115.1, 2)], [1, 1, 1])
    assert (near.mirrors, near.others) == ((0, 1), (2,))
    assert (far.mirrors, far.others) == ((0, 1), (2,))


def test_at_most_eight_candidates() -> None:
    row = make_row([(10.0, index) for index in range(20)], [1] * 20)
    assert len(row.mirrors) == 8
    assert row.others == tuple(range(8, 20))


def test_three_ms_more_is_a_share_e_times_smaller() -> None:
    row = make_row([(10.0, 0), (13.0, 1)], [1000, 1000])
    assert row.shares[0] / row.shares[1] == pytest.approx(2.718281828, rel=1e-6)


def test_bandwidth_weighs() -> None:
    row = make_row([(10.0, 0), (10.0, 1)], [1000, 3000])
    assert row.shares == pytest.approx((0.25, 0.75))


@given(ranked_lists, st.integers(0, HASH_SPAN - 1))
def test_shares_sum_to_one_and_every_choice_finds_a_candidate(
    ranked: list[tuple[float, int]], choice: int
) -> None:
    row = make_row(ranked, [1.0 + index % 7 for index in range(len(ranked))])
    assert sum(row.shares) == pytest.approx(1.0)
    assert list(row.thresholds) == sorted(row.thresholds)
    assert 0 <= row.pick(choice) < len(row.mirrors)
    everyone = list(row.mirrors + row.others)
    assert everyone == [index for _, index in ranked][: len(everyone)]
    assert len(everyone) == min(len(ranked), len(row.mirrors) + MAX_OTHERS)


@given(st.integers(0, 2**48 - 1), st.binary(max_size=200))
def test_the_choice_is_a_fixed_number_within_its_span(network: int, path: bytes) -> None:
    choice = choice_hash(network, path)
    assert 0 <= choice < HASH_SPAN
    assert choice == choice_hash(network, path)


def test_the_choice_is_the_same_on_every_edge_and_release() -> None:
    """Written down: if these change, every resumed download changes its mirror at the upgrade."""
    assert choice_hash(1, b"a") == 424_590_851
    assert choice_hash(2**40, b"a") == 982_246_765


@pytest.mark.parametrize("by", ["network", "path"])
def test_clients_and_files_spread_as_the_shares_say(by: str) -> None:
    row = make_row([(10.0, 0), (10.0, 1), (10.0, 2)], [1000, 2000, 7000])
    count = 20_000
    picked = Counter(
        row.pick(
            choice_hash(index, b"releases/12/x.iso")
            if by == "network"
            else choice_hash(0xC63364, b"pool/main/p/package_%d.deb" % index)
        )
        for index in range(count)
    )
    for position, share in enumerate((0.1, 0.2, 0.7)):
        assert picked[position] / count == pytest.approx(share, abs=0.02)
