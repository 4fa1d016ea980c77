"""When a mirror's lines are looked at, and what the looks mean for the mirror. Pure: no I/O.

Lines take turns, one a look; a line that failed has its own time for the next look. One look at a
mirror at a time: a mirror never sees more than one connection of ours.

A mirror none of whose lines answers is out as a whole as soon as it was looked at as often as one
line would be (three times, the first and the last four seconds apart) and each line failed once:
a dead machine's lines needn't each run into three time-outs.
"""

from __future__ import annotations

import random
from math import inf

from heliostat.edge.watch.machine import Line
from heliostat.edge.watch.settings import WatchSettings
from heliostat.edge.watch.targets import LineKey, WatchTarget


class WatchedMirror:
    """One mirror: its lines, and when the next of them is due. Times are the watch's clock."""

    def __init__(
        self, target: WatchTarget, settings: WatchSettings, rng: random.Random, now: float
    ) -> None:
        self._settings, self._rng = settings, rng
        self.target = target
        self.lines: dict[LineKey, Line] = {}
        self.busy = False
        self.looks = self.failures = 0
        self.last_look_at: float | None = None
        self.last_fault = ""
        self._own_due: dict[LineKey, float] = {}
        """Lines that are looked at out of turn."""
        self._paused: frozenset[int] = frozenset()
        self._turn = rng.randrange(len(target.lines)) if target.lines else 0
        self._hot_until = -inf
        self._asked_at = -inf
        """When clients' repeats last brought a round of looks about, or will."""
        self._failed_looks = 0
        """At lines that weren't out, since any line answered."""
        self._first_failure_at = 0.0
        self._turn_due = now + rng.uniform(0, settings.hot_every_s)
        self.use(target)

    def use(self, target: WatchTarget) -> None:
        """A new state's word on this mirror; what is known of lines that stay is kept."""
        self.target = target
        fresh = len(self._settings.repeats_s), self._settings.successes
        self.lines = {key: self.lines.get(key) or Line(*fresh) for key in target.lines}
        self._own_due = {k: due for k, due in self._own_due.items() if k in self.lines}

    @property
    def due(self) -> float:
        """When the next look is due; infinite while one is under way or nothing can be."""
        if self.busy:
            return inf
        dues = list(self._own_due.values())
        if self._in_turn():
            dues.append(self._turn_due)
        return min(dues, default=inf)

    @property
    def active(self) -> list[Line]:
        """The known lines whose family this machine has."""
        return [
            line
            for key, line in self.lines.items()
            if line.known and key.family not in self._paused
        ]

    @property
    def dead(self) -> bool:
        lines = self.active
        return bool(lines) and all(line.out for line in lines)

    def take(self, now: float) -> LineKey | None:
        """The line to look at now. Until `saw` or `missed` the mirror is busy."""
        if self.busy:
            return None
        key = min(self._own_due, key=self._own_due.__getitem__, default=None)
        if key is not None and self._own_due[key] <= now:
            del self._own_due[key]
        else:
            turns = self._in_turn()
            if not turns or self._turn_due > now:
                return None
            key = turns[self._turn % len(turns)]
            self._turn += 1
            self._turn_due = inf  # until it is known how this look went
        self.busy = True
        self.last_look_at = now
        return key

    def missed(self, now: float) -> None:
        """The look came to nothing, and not by the mirror's fault."""
        self.busy = False
        self._set_turn(now)

    def saw(self, key: LineKey, fault: str | None, now: float) -> None:
        """What the look at the line `key` gave: None for all is well, or what is wrong."""
        self.busy = False
        self.looks += 1
        self.failures += fault is not None
        line = self.lines.get(key)
        if line is not None:
            if fault is None:
                self._succeeded(key, line, now)
            else:
                self.last_fault = fault
                self._failed(key, line, now)
        self._set_turn(now)

    def redirected(self, now: float) -> None:
        """Clients are sent here: looked at more often for a while."""
        was_hot = self._hot_until > now
        self._hot_until = now + self._settings.hot_for_s
        if not was_hot:
            latest = now + self._rng.uniform(0, self._settings.hot_every_s)
            self._turn_due = min(self._turn_due, latest)

    def look_now(self, now: float) -> None:
        """All lines soon, one after the other; asked again too early, when it is time for that."""
        if self._asked_at >= now:
            return  # the next round waits already
        lines = [key for key, line in self.lines.items() if not line.out and self._may(key)]
        self._asked_at = max(now, self._asked_at + self._settings.asked_every_s * len(lines))
        for key in lines:
            self._own_due[key] = min(self._asked_at, self._own_due.get(key, inf))

    def pause(self, families: frozenset[int]) -> None:
        """This machine lacks `families`: their lines aren't looked at, but for scouts."""
        for family in self._paused - families:
            self.forgive(family)
        self._paused = families
        self._own_due = {key: due for key, due in self._own_due.items() if self._may(key)}

    def scout(self, family: int, now: float) -> bool:
        """Looks at one line of a family that is paused, to see whether it is back."""
        keys = [key for key in self.lines if key.family == family]
        if keys:
            self._own_due[self._rng.choice(keys)] = now
        return bool(keys)

    def forgive(self, family: int | None = None) -> None:
        """Failures of lines (of one family) were this machine's: forgotten."""
        for key, line in self.lines.items():
            if family is None or key.family == family:
                line.forgive()
                self._own_due.pop(key, None)
        self._failed_looks = 0

    def hurry(self, now: float) -> None:
        """Brings the next turn into the near future, unlike other mirrors' ones."""
        latest = now + self._rng.uniform(0, self._settings.hot_every_s)
        self._turn_due = min(self._turn_due, latest)

    def _may(self, key: LineKey) -> bool:
        return key.family not in self._paused

    def _in_turn(self) -> list[LineKey]:
        """Lines that take turns: not those whose next look has a time of its own."""
        return [key for key in self.lines if self._may(key) and key not in self._own_due]

    def _each(self, pause_s: float) -> float:
        jitter = self._settings.jitter
        return pause_s * self._rng.uniform(1 - jitter, 1 + jitter)

    def _set_turn(self, now: float) -> None:
        unclear = any(
            line.out or line.doubted or not line.known
            for key, line in self.lines.items()
            if self._may(key)
        )
        settings = self._settings
        hot = unclear or self._hot_until > now
        next_turn = now + self._each(settings.hot_every_s if hot else settings.cold_every_s)
        self._turn_due = min(self._turn_due, next_turn)

    def _succeeded(self, key: LineKey, line: Line, now: float) -> None:
        back = self.dead and not self._answers()
        line.succeed()
        self._failed_looks = 0
        if line.out and self._may(key):
            self._own_due[key] = now + self._each(self._settings.hot_every_s)
        if back:  # the machine answers again: so may its other lines
            self._look_at_others(key, now)

    def _failed(self, key: LineKey, line: Line, now: float) -> None:
        if not line.out:
            self._failed_looks += 1
            if self._failed_looks == 1:
                self._first_failure_at = now
        line.fail(now)
        if not self._may(key):
            return
        if line.doubted:
            self._own_due[key] = max(
                now, line.first_failure_at + self._each(self._settings.repeats_s[line.failures - 1])
            )
            if line.failures == 1:
                self._look_at_others(key, now)
            self._perhaps_all_out(now)
        if self.dead and not self._answers():
            self._own_due.clear()  # one look in turn shows whether the machine is back
        elif line.out:
            self._own_due[key] = now + self._each(self._settings.hot_every_s)

    def _answers(self) -> bool:
        return any(line.answering for line in self.active)

    def _look_at_others(self, key: LineKey, now: float) -> None:
        for other, line in self.lines.items():
            steady = line.out == self.lines[key].out
            if other != key and self._may(other) and not line.doubted and steady:
                self._own_due[other] = min(now, self._own_due.get(other, inf))

    def _perhaps_all_out(self, now: float) -> None:
        settings = self._settings
        lines = [line for key, line in self.lines.items() if self._may(key)]
        if (
            all(line.out or line.failures for line in lines)
            and self._failed_looks > len(settings.repeats_s)
            and now - self._first_failure_at >= settings.repeats_s[-1] * (1 - settings.jitter)
        ):
            for line in lines:
                line.take_out()
