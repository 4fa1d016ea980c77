"""The states of a mirror: every rule is met, nothing is sent to a dead one, all come back."""

from __future__ import annotations

import runpy
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from heliostat.manager.probing.machine import (
    FLAP_SPELLS,
    LONGEST_PROOF,
    OUT_AFTER_FAILURES,
    RULES,
    Cause,
    Memory,
    Sight,
    step,
)
from heliostat.model.mirror import MirrorState

ROOT = Path(__file__).parents[2]
WELL, DEAD, WRONG = Sight(True), Sight(False), Sight(True, is_wrong=True)
LATE = Sight(True, is_behind=True)
S = MirrorState

sights = st.builds(
    Sight,
    answers=st.sampled_from([True, False, None]),
    is_wrong=st.booleans(),
    is_behind=st.booleans(),
)


def walk(*seen: Sight, period_s: float = 30) -> list[MirrorState]:
    """The states after each look, from NEW."""
    state, memory, states = S.NEW, Memory(), []
    for turn, sight in enumerate(seen):
        moved = step(state, memory, sight, turn * period_s, is_look=True)
        state, memory = moved.state, moved.memory
        states.append(state)
    return states


def test_the_page_shows_the_rules_as_they_are() -> None:
    tool = runpy.run_path(str(ROOT / "tools" / "state_diagram.py"))
    page = tool["PAGE"].read_text(encoding="utf-8")
    assert page == tool["page_with_diagram"](page), "run tools/state_diagram.py"
    assert all(f"| `{state}` |" in page for state in S)


def test_a_usual_life() -> None:
    assert walk(Sight(None), WELL, LATE, LATE, WELL) == [
        S.NEW,
        S.GOOD,
        S.LAGGING,
        S.LAGGING,
        S.GOOD,
    ]


def test_down_at_once_out_after_three() -> None:
    assert walk(WELL, DEAD, DEAD, DEAD) == [S.GOOD, S.FAILING, S.FAILING, S.OUT]
    assert OUT_AFTER_FAILURES == 3
    assert walk(WELL, DEAD, WELL) == [S.GOOD, S.FAILING, S.GOOD]


def test_wrong_bytes_put_out_at_once_and_until_they_are_right() -> None:
    assert walk(WELL, WRONG, WRONG, WRONG) == [S.GOOD, S.OUT, S.OUT, S.OUT]
    assert walk(WELL, WRONG, WELL, WELL) == [S.GOOD, S.OUT, S.RETURNING, S.GOOD]


def test_who_never_served_needs_no_proof() -> None:
    assert walk(DEAD, WELL) == [S.OUT, S.GOOD]


def test_scans_prove_nothing() -> None:
    moved = step(S.OUT, Memory(has_served=True, outs_s=(0.0,)), WELL, 10, is_look=True)
    assert moved.state is S.RETURNING
    for turn in range(50):
        moved = step(moved.state, moved.memory, WELL, 10 + turn, is_look=False)
    assert moved.state is S.RETURNING
    assert step(moved.state, moved.memory, WELL, 100, is_look=True).state is S.GOOD


def test_each_time_out_within_a_day_asks_for_twice_the_proof() -> None:
    state, memory, at_s, waited = S.NEW, Memory(), 0.0, []
    for sight in (WELL,):
        moved = step(state, memory, sight, at_s, is_look=True)
        state, memory = moved.state, moved.memory
    for _ in range(8):
        at_s += 3601  # its failing spells are forgotten, its times of being out aren't
        for _ in range(OUT_AFTER_FAILURES):
            at_s += 30
            moved = step(state, memory, DEAD, at_s, is_look=True)
            state, memory = moved.state, moved.memory
        assert state is S.OUT
        looks = 0
        while not state.serves:
            at_s += 30
            looks += 1
            moved = step(state, memory, WELL, at_s, is_look=True)
            state, memory = moved.state, moved.memory
        waited.append(looks)
    assert waited == [2, 4, 8, 16, 32, 32, 32, 32]
    assert LONGEST_PROOF == 32
    moved = step(state, memory, WELL, at_s + 2 * 86_400, is_look=True)
    assert moved.memory.outs_s == ()


def test_several_short_spells_within_an_hour_are_flapping() -> None:
    states = walk(*[WELL, *[DEAD, WELL] * (FLAP_SPELLS - 1), DEAD])
    assert states[-1] is S.OUT
    calm = walk(*[WELL, *[DEAD, WELL] * (FLAP_SPELLS - 1), DEAD], period_s=3600)
    assert calm[-1] is S.FAILING


def test_a_scan_that_says_no_is_no_further_look() -> None:
    state, memory = S.GOOD, Memory(has_served=True)
    for turn in range(10):
        moved = step(state, memory, DEAD, turn, is_look=False)
        state, memory = moved.state, moved.memory
    assert state is S.FAILING


@given(st.lists(st.tuples(sights, st.booleans(), st.floats(-60, 4000)), max_size=60))
def test_whatever_is_seen(seen: list[tuple[Sight, bool, float]]) -> None:
    state, memory, at_s = S.NEW, Memory(), 1e9
    known = {(rule.before, rule.cause, rule.after) for rule in RULES}
    for sight, is_look, later_s in seen:
        at_s += later_s  # a clock may be set back, too
        before = state
        moved = step(state, memory, sight, at_s, is_look=is_look)
        state, memory = moved.state, Memory.from_json(moved.memory.to_json())
        assert memory == moved.memory
        for move in moved.moves:
            assert (move.before, move.cause, move.after) in known
            assert move.before is before
            before = move.after
        assert before is state
        if sight.answers is False or sight.is_wrong:
            assert not state.serves
        if sight.is_wrong and sight.answers is not None:
            assert state is S.OUT
    for _ in range(LONGEST_PROOF + 1):
        at_s += 30
        moved = step(state, memory, WELL, at_s, is_look=True)
        state, memory = moved.state, moved.memory
    assert state is S.GOOD, "whatever was, it comes back by itself"


def test_every_state_can_be_left() -> None:
    assert {rule.before for rule in RULES} == set(S)
    assert {rule.cause for rule in RULES} == set(Cause)
