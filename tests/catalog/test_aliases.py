"""Aliases lead to the highest version, in each order of versions, and never to a pre-release."""

from __future__ import annotations

import itertools
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packaging.version import Version

from heliostat.catalog.aliases import resolve
from heliostat.catalog.versions import is_prerelease, sort_key
from heliostat.model.tree import Alias, AliasAnswer, AliasRule, VersionOrder

NATURAL, PEP440, DEBIAN = VersionOrder.NATURAL, VersionOrder.PEP440, VersionOrder.DEBIAN

RISING = {
    NATURAL: [b"8", b"9.08", b"9.9", b"9.10-rc1", b"9.10-rc2", b"9.10", b"9.10.1", b"9.10.1p1"],
    PEP440: [b"1.0.dev1", b"1.0a1", b"1.0b2", b"1.0rc1", b"1.0", b"1.0.post1", b"1.1", b"1!0.1"],
    DEBIAN: [b"1.0~rc1-1", b"1.0-1~bpo1", b"1.0-1", b"1.0-1+b1", b"1.0a-1", b"1.0+x-1", b"1:0.1"],
}
DEBIAN_VERSIONS = st.text("019a~+.-z", min_size=1, max_size=8).map(lambda text: "1" + text)


@pytest.mark.parametrize("order", list(VersionOrder))
def test_versions_rise(order: VersionOrder) -> None:
    keys = [sort_key(order)(version) for version in RISING[order]]
    for lower, higher in itertools.pairwise(keys):
        assert lower is not None
        assert higher is not None
        assert lower < higher


@pytest.mark.parametrize("order", list(VersionOrder))
@given(versions=st.lists(st.binary(max_size=12), max_size=6))
def test_any_versions_have_one_order(order: VersionOrder, versions: list[bytes]) -> None:
    all_keys = {version: sort_key(order)(version) for version in versions}
    keys = {version: key for version, key in all_keys.items() if key is not None}
    known = list(keys)
    forth = sorted(known, key=keys.__getitem__)
    known.reverse()
    back = sorted(known, key=keys.__getitem__)
    assert forth == back
    for version in versions:
        is_prerelease(version, order)


@settings(max_examples=60, deadline=None)
@given(one=DEBIAN_VERSIONS, other=DEBIAN_VERSIONS)
def test_debians_order_is_dpkgs(one: str, other: str) -> None:
    key = sort_key(DEBIAN)
    mine, its = key(one.encode()), key(other.encode())
    assert mine is not None
    assert its is not None
    for relation, holds in (("lt", mine[:-1] < its[:-1]), ("eq", mine[:-1] == its[:-1])):
        done = subprocess.run(
            ["dpkg", "--compare-versions", one, relation, other], capture_output=True, timeout=10
        )
        if b"bad" not in done.stderr:
            assert (done.returncode == 0) == holds, (one, relation, other)


@given(
    numbers=st.lists(st.lists(st.integers(0, 30), min_size=1, max_size=3), min_size=2, max_size=2)
)
def test_plain_numbers_are_in_the_same_order_everywhere(numbers: list[list[int]]) -> None:
    texts = [".".join(map(str, each)) for each in numbers]
    wanted = Version(texts[0]) < Version(texts[1])
    key = sort_key(PEP440)
    low, high = (key(text.encode()) for text in texts)
    assert low is not None
    assert high is not None
    assert (low[0] < high[0]) == wanted
    if len(numbers[0]) == len(numbers[1]):
        natural = sort_key(NATURAL)
        one, other = natural(texts[0].encode()), natural(texts[1].encode())
        assert one is not None
        assert other is not None
        assert (one[0] < other[0]) == wanted


PATHS = sorted(
    [
        b"releases/9.08/sys-9.08-amd64.iso",
        b"releases/9.9/sys-9.9-amd64.iso",
        b"releases/9.10/sys-9.10-amd64.iso",
        b"releases/9.11-rc1/sys-9.11-rc1-amd64.iso",
        b"releases/9.10/tool-9.10-amd64.iso",
        b"releases/9.12/other.txt",
        b"latest/tool-amd64.iso",
    ]
)
RULE = AliasRule("latest/{name}-amd64.iso", "releases/{version}/{name}-{version}-amd64.iso")


def test_the_highest_version_wins_for_each_name() -> None:
    target = b"releases/9.10/sys-9.10-amd64.iso"
    assert resolve([RULE], PATHS) == [Alias(b"latest/sys-amd64.iso", target)]


def test_prereleases_count_when_asked_for() -> None:
    rule = AliasRule(RULE.path, RULE.target, prereleases=True, answer=AliasAnswer.MIRROR)
    (alias,) = resolve([rule], PATHS)
    assert alias.target == b"releases/9.11-rc1/sys-9.11-rc1-amd64.iso"
    assert alias.answer is AliasAnswer.MIRROR


def test_the_earlier_rule_wins_and_a_real_file_over_both() -> None:
    any_file = AliasRule("latest/{name}-amd64.iso", "releases/{version}/{name}.txt")
    assert resolve([RULE, any_file], PATHS)[0].path == b"latest/other-amd64.iso"
    first = AliasRule("latest/sys-amd64.iso", "releases/{version}/other.txt")
    assert resolve([first, RULE], PATHS) == [
        Alias(b"latest/sys-amd64.iso", b"releases/9.12/other.txt")
    ]


@given(
    versions=st.lists(
        st.tuples(st.integers(0, 40), st.integers(0, 40)), min_size=1, max_size=8, unique=True
    )
)
def test_an_alias_is_a_file_of_the_catalog_with_no_higher_one_beside(
    versions: list[tuple[int, int]],
) -> None:
    paths = sorted(b"r/%d.%d/x-%d.%d.iso" % (*one, *one) for one in versions)
    (alias,) = resolve([AliasRule("latest/{name}.iso", "r/{version}/{name}-{version}.iso")], paths)
    assert alias == Alias(
        b"latest/x.iso", b"r/%d.%d/x-%d.%d.iso" % (*max(versions), *max(versions))
    )


@pytest.mark.parametrize("version", [b"2024a", b"2024b", b"1.1.1a", b"1.0.2b", b"1.0-1+b1"])
def test_a_letter_at_the_end_is_a_release(version: bytes) -> None:
    assert not is_prerelease(version, NATURAL)
    assert not is_prerelease(version, DEBIAN)


@pytest.mark.parametrize("version", [b"5.0-beta", b"9.10-rc1", b"12-test", b"1.0a2", b"1.0b1"])
def test_a_prerelease_is_known_in_each_order_that_people_write_by_hand(version: bytes) -> None:
    assert is_prerelease(version, NATURAL)
    assert is_prerelease(version, DEBIAN)


@pytest.mark.parametrize("order", [NATURAL, DEBIAN])
def test_words_beside_versions_are_none(order: VersionOrder) -> None:
    paths = [b"releases/9.10/x.iso", b"releases/testing/x.iso"]
    (alias,) = resolve([AliasRule("x.iso", "releases/{version}/x.iso", order)], paths)
    assert alias.target == paths[0]
