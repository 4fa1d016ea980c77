"""The states of a mirror: which there are, what leads from one to another, what is remembered.

Theory: down at once, up slowly. One look that fails (it looks twice by itself) takes the traffic
away, as nobody must be sent to a dead mirror for longer than a look's period; but only several in
a row, or several spells within an hour, make it OUT. Who was OUT has to answer for a while before
it serves again, and longer each time it went OUT within a day, so that one that flaps settles.

The moves are data (`RULES`), tried from the top for the state a mirror is in; what people set
(disabled) is no part of this. `docs/reference/mirror-states.md` shows them, made by
`tools/state_diagram.py`. Pure: the time is handed in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any, Final

from heliostat.model.mirror import MirrorState

OUT_AFTER_FAILURES: Final = 3
"""Failed looks in a row."""
FLAP_SPELLS: Final = 3
FLAP_WINDOW_S: Final = 3600.0
"""This many failing spells within this time put a mirror out."""
OUT_WINDOW_S: Final = 86_400.0
"""Times of having been out are remembered for this long."""
FIRST_PROOF: Final = 2
"""Good looks that bring a mirror back that was out once; twice as many for each further time."""
LONGEST_PROOF: Final = 32
MOST_MOVES: Final = 4
"""In one step; the rules allow three at most."""
TIMES_KEPT: Final = 16


@dataclass(frozen=True, slots=True)
class Sight:
    """What probes see now. `answers` None: not both kinds have looked yet."""

    answers: bool | None
    is_wrong: bool = False
    """It gave wrong bytes (or none in time), and wasn't seen to give the right ones since."""
    is_behind: bool = False


@dataclass(frozen=True, slots=True)
class Memory:
    """What the machine remembers of one mirror between sights."""

    failures: int = 0
    """Failed looks in a row."""
    passes: int = 0
    """Good looks in a row."""
    has_served: bool = False
    spells_s: tuple[float, ...] = ()
    """When it began to fail, within FLAP_WINDOW_S (Unix time)."""
    outs_s: tuple[float, ...] = ()
    """When it went out, within OUT_WINDOW_S."""

    @property
    def proof(self) -> int:
        """Good looks in a row that it needs to serve again."""
        if not self.has_served:
            return 0
        return min(LONGEST_PROOF, FIRST_PROOF << max(0, len(self.outs_s) - 1))

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Memory:
        """What `to_json` gave; keys of other releases are passed over."""
        known = {key: stored[key] for key in cls.__dataclass_fields__ if key in stored}
        for key in ("spells_s", "outs_s"):
            known[key] = tuple(float(at_s) for at_s in known.get(key, ()))
        return cls(**known)


class Cause(StrEnum):
    """What makes a mirror move, as the diagram says it."""

    WRONG_BYTES = "wrong bytes, or none in time"
    ANSWERS = "answers, and holds files"
    SILENT = "a look fails"
    SILENT_FOR_LONG = "3 looks fail in a row, or 3 spells in an hour"
    PROVED = "good for long enough"
    BEHIND = "behind by more than lagging_after_s"
    UP_TO_DATE = "up to date again"


_HOLDS: Final[Mapping[Cause, Callable[[Sight, Memory], bool]]] = {
    Cause.WRONG_BYTES: lambda sight, _: sight.is_wrong,
    Cause.ANSWERS: lambda sight, _: bool(sight.answers) and not sight.is_wrong,
    Cause.SILENT: lambda sight, _: sight.answers is False,
    Cause.SILENT_FOR_LONG: lambda sight, memory: (
        sight.answers is False
        and (memory.failures >= OUT_AFTER_FAILURES or len(memory.spells_s) >= FLAP_SPELLS)
    ),
    Cause.PROVED: lambda sight, memory: bool(sight.answers) and memory.passes >= memory.proof,
    Cause.BEHIND: lambda sight, _: sight.is_behind,
    Cause.UP_TO_DATE: lambda sight, _: not sight.is_behind,
}


@dataclass(frozen=True, slots=True)
class Rule:
    before: MirrorState
    cause: Cause
    after: MirrorState


RULES: Final = (
    Rule(MirrorState.NEW, Cause.WRONG_BYTES, MirrorState.OUT),
    Rule(MirrorState.NEW, Cause.SILENT, MirrorState.OUT),
    Rule(MirrorState.NEW, Cause.ANSWERS, MirrorState.GOOD),
    Rule(MirrorState.GOOD, Cause.WRONG_BYTES, MirrorState.OUT),
    Rule(MirrorState.GOOD, Cause.SILENT, MirrorState.FAILING),
    Rule(MirrorState.GOOD, Cause.BEHIND, MirrorState.LAGGING),
    Rule(MirrorState.LAGGING, Cause.WRONG_BYTES, MirrorState.OUT),
    Rule(MirrorState.LAGGING, Cause.SILENT, MirrorState.FAILING),
    Rule(MirrorState.LAGGING, Cause.UP_TO_DATE, MirrorState.GOOD),
    Rule(MirrorState.FAILING, Cause.WRONG_BYTES, MirrorState.OUT),
    Rule(MirrorState.FAILING, Cause.SILENT_FOR_LONG, MirrorState.OUT),
    Rule(MirrorState.FAILING, Cause.ANSWERS, MirrorState.GOOD),
    Rule(MirrorState.OUT, Cause.ANSWERS, MirrorState.RETURNING),
    Rule(MirrorState.RETURNING, Cause.WRONG_BYTES, MirrorState.OUT),
    Rule(MirrorState.RETURNING, Cause.SILENT, MirrorState.OUT),
    Rule(MirrorState.RETURNING, Cause.PROVED, MirrorState.GOOD),
)


@dataclass(frozen=True, slots=True)
class Step:
    """Where a sight led: the state now, what to remember, and the moves on the way."""

    state: MirrorState
    memory: Memory
    moves: tuple[Rule, ...]


def step(state: MirrorState, memory: Memory, sight: Sight, at_s: float, *, is_look: bool) -> Step:
    """One sight of a mirror. `is_look`: by liveness, so that a failure counts as one more."""
    memory = _aged(memory, at_s)
    if sight.answers and not sight.is_wrong:
        memory = replace(memory, failures=0, passes=memory.passes + is_look)
    elif sight.answers is not None:
        memory = replace(memory, failures=memory.failures + is_look, passes=0)
    moves: list[Rule] = []
    for _ in range(MOST_MOVES):
        rule = _next(state, sight, memory)
        if rule is None:
            break
        moves.append(rule)
        state, memory = rule.after, _after(rule, memory, at_s)
    return Step(state, memory, tuple(moves))


def _next(state: MirrorState, sight: Sight, memory: Memory) -> Rule | None:
    for rule in RULES:
        if rule.before is state and _HOLDS[rule.cause](sight, memory):
            return rule
    return None


def _after(rule: Rule, memory: Memory, at_s: float) -> Memory:
    if rule.after is MirrorState.FAILING:
        return replace(memory, spells_s=(*memory.spells_s, at_s)[-TIMES_KEPT:])
    if rule.after is MirrorState.OUT:
        return replace(memory, passes=0, outs_s=(*memory.outs_s, at_s)[-TIMES_KEPT:])
    if rule.after.serves:
        return replace(memory, has_served=True)
    return memory


def _aged(memory: Memory, at_s: float) -> Memory:
    """Without what is too long ago; nor what is in the future, which a clock set back leaves."""
    return replace(
        memory,
        spells_s=tuple(s for s in memory.spells_s if 0 <= at_s - s < FLAP_WINDOW_S),
        outs_s=tuple(s for s in memory.outs_s if 0 <= at_s - s < OUT_WINDOW_S),
    )
