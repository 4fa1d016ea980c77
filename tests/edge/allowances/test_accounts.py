"""What an allowance is worth, and its bytes on the disk."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliostat.edge.allowances.accounts import EPOCHS_KEPT, Accounts, DamagedLedgerError
from heliostat.edge.allowances.form import MAX_MIRRORS, Allowance, read_allowances

MINE = "00ff"


def given_to(mirror: str, epoch: int, general: int, reserve: int = 0, **more: object) -> Allowance:
    said = {"mirror": mirror, "epoch": epoch, "general": general, "reserve": reserve}
    return Allowance.model_validate({"purse": MINE, "ends_s": None, **said, **more})


def fresh() -> Accounts:
    return Accounts(MINE, "fra")


ALLOWANCES = st.builds(
    given_to,
    st.sampled_from(["a", "b", "ü"]),
    st.integers(1, 6),
    st.integers(0, 1 << 62),
    st.integers(0, 1 << 62),
    purse=st.sampled_from([MINE, "another"]),
    ends_s=st.none() | st.floats(0, 1e11),
)


@given(st.lists(ALLOWANCES, max_size=20))
def test_in_any_order_epochs_rise_and_what_was_given_never_falls(given: list[Allowance]) -> None:
    accounts = fresh()
    before: dict[tuple[str, int], tuple[int, int]] = {}
    for allowance in given:
        accounts.accept(allowance)
        for mirror, epochs in accounts.epochs.items():
            numbers = [epoch.number for epoch in epochs]
            assert numbers == sorted(set(numbers))
            assert len(numbers) <= EPOCHS_KEPT
            for epoch in epochs:
                old = before.get((mirror, epoch.number), (0, 0))
                new = (epoch.given["general"], epoch.given["reserve"])
                assert new[0] >= old[0]
                assert new[1] >= old[1]
                before[mirror, epoch.number] = new
    best = [one for one in given if one.purse == MINE]
    for mirror in accounts.epochs:
        newest = max(one.epoch for one in best if one.mirror == mirror)
        current = accounts.current(mirror)
        assert current is not None
        assert current.number == newest


@given(st.lists(ALLOWANCES, max_size=20))
def test_what_is_written_is_read_again(given: list[Allowance]) -> None:
    accounts = fresh()
    for allowance in given:
        accounts.accept(allowance)
    assert Accounts.unpack(accounts.pack()) == accounts


@given(st.data())
def test_any_damage_is_seen(data: st.DataObject) -> None:
    accounts = fresh()
    accounts.accept(given_to("a", 1, 1000, 10))
    raw = bytearray(accounts.pack())
    if data.draw(st.booleans()):
        at = data.draw(st.integers(0, len(raw) - 1))
        raw[at] ^= data.draw(st.integers(1, 255))
    else:
        del raw[data.draw(st.integers(0, len(raw) - 1)) :]
    with pytest.raises(DamagedLedgerError):
        Accounts.unpack(bytes(raw))


@given(st.binary(max_size=300))
def test_other_bytes_are_no_ledger(raw: bytes) -> None:
    with pytest.raises(DamagedLedgerError):
        Accounts.unpack(raw)


def test_another_purses_allowance_is_none_of_ours() -> None:
    accounts = fresh()
    assert not accounts.accept(given_to("a", 1, 1000, purse="another"))
    assert accounts.current("a") is None


def test_a_later_epoch_replaces_the_one_before_whose_taken_is_told_on() -> None:
    accounts = fresh()
    accounts.accept(given_to("a", 3, 1000))
    old = accounts.current("a")
    assert old is not None
    old.taken["general"] = 700
    assert accounts.accept(given_to("a", 4, 50))
    assert not accounts.accept(given_to("a", 3, 9000)), "an older one says nothing any more"
    new = accounts.current("a")
    assert new is not None
    assert (new.number, new.left("general")) == (4, 50)
    told = {(one["epoch"], one["part"]): one["taken"] for one in accounts.told()}
    assert told[3, "general"] == 700
    assert told[4, "general"] == 0


def test_the_end_of_a_period_never_moves_back_out() -> None:
    accounts = fresh()
    accounts.accept(given_to("a", 1, 1000, ends_s=500.0))
    accounts.accept(given_to("a", 1, 1000, ends_s=900.0))
    current = accounts.current("a")
    assert current is not None
    assert current.is_over(500.0)
    assert not current.is_over(499.0)


def test_more_mirrors_than_any_project_has_are_not_kept() -> None:
    accounts = fresh()
    for number in range(MAX_MIRRORS):
        assert accounts.accept(given_to(f"m{number}", 1, 1))
    assert not accounts.accept(given_to("one more", 1, 1))


@given(st.text(max_size=200) | st.from_regex(r'\{"allowances": .{0,100}\}', fullmatch=True))
def test_any_answer_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert isinstance(read_allowances(text), list)


@pytest.mark.parametrize(
    "wrong",
    [
        '"general": -1',
        '"general": 1e3',
        '"general": "7"',
        f'"general": {1 << 63}',
        '"epoch": 0',
        '"mirror": ""',
        '"ends_s": -5',
    ],
)
def test_figures_that_cannot_be_are_refused_whole(wrong: str) -> None:
    right = '"mirror": "a", "epoch": 1, "purse": "p", "general": 5, "reserve": 5, "ends_s": null'
    assert read_allowances(f'{{"drain": false, "allowances": [{{{right}}}]}}')[0].general == 5
    with pytest.raises(ValueError, match=r"allowances\.0"):
        read_allowances(f'{{"allowances": [{{{right}, {wrong}}}]}}')
