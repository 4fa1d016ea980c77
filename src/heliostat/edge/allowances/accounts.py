"""What the ledger knows of each mirror with a budget: given and taken, by epoch; and its bytes.

Pure. An epoch's sums are cumulative; only the newest epoch of a mirror is taken from. Older ones
are kept to be reported, so that the manager learns their last figures.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from heliostat.edge.allowances.form import MAX_MIRRORS, Allowance

GENERAL: Final = "general"
RESERVE: Final = "reserve"
PARTS: Final = (GENERAL, RESERVE)

EPOCHS_KEPT: Final = 3
"""Of each mirror, the newest; who hasn't reported the fourth by now never will."""
MAX_LEDGER_BYTES: Final = 4 * 1024 * 1024

_MAGIC: Final = b"heliostat allowances 1"


class DamagedLedgerError(Exception):
    """The bytes are no ledger, or not as they were written."""


@dataclass(slots=True)
class Epoch:
    """One allowance, as this node has it."""

    number: int
    ends_s: float | None
    seen_s: float = 0.0
    """The latest time (Unix) that anybody here took from it at: a clock set back isn't believed."""
    given: dict[str, int] = field(default_factory=lambda: dict.fromkeys(PARTS, 0))
    taken: dict[str, int] = field(default_factory=lambda: dict.fromkeys(PARTS, 0))

    def is_over(self, now_s: float) -> bool:
        return self.ends_s is not None and max(now_s, self.seen_s) >= self.ends_s

    def left(self, part: str) -> int:
        return max(0, self.given[part] - self.taken[part])


@dataclass(slots=True)
class Accounts:
    """All of one ledger. `purse` is who it is to the manager, `owner` the node that made it."""

    purse: str
    owner: str
    epochs: dict[str, list[Epoch]] = field(default_factory=dict)
    """By mirror, rising; the last is taken from."""

    def accept(self, allowance: Allowance) -> bool:
        """Takes up what was given; True when anything changed.

        Another purse's, an older epoch's, or less than was given before changes nothing.
        """
        if allowance.purse != self.purse:
            return False
        if allowance.mirror not in self.epochs and len(self.epochs) >= MAX_MIRRORS:
            return False
        known = self.epochs.setdefault(allowance.mirror, [])
        newest = known[-1].number if known else 0
        if allowance.epoch < newest:
            return False
        if allowance.epoch > newest:
            known.append(Epoch(allowance.epoch, allowance.ends_s))
            del known[:-EPOCHS_KEPT]
        epoch = known[-1]
        before = (epoch.ends_s, *epoch.given.values())
        ends = [end for end in (epoch.ends_s, allowance.ends_s) if end is not None]
        epoch.ends_s = min(ends, default=None)
        epoch.given[GENERAL] = max(epoch.given[GENERAL], allowance.general)
        epoch.given[RESERVE] = max(epoch.given[RESERVE], allowance.reserve)
        return allowance.epoch > newest or before != (epoch.ends_s, *epoch.given.values())

    def current(self, mirror: str) -> Epoch | None:
        """The epoch that is taken from; None before there is one."""
        known = self.epochs.get(mirror)
        return known[-1] if known else None

    def told(self) -> list[dict[str, Any]]:
        """What was taken of every epoch kept, as the manager reads it."""
        return [
            {"mirror": mirror, "epoch": epoch.number, "part": part, "taken": epoch.taken[part]}
            for mirror, epochs in self.epochs.items()
            for epoch in epochs
            for part in PARTS
        ]

    def pack(self) -> bytes:
        """As it is written: a line with the checksum of the rest, then JSON."""
        said = {
            "purse": self.purse,
            "owner": self.owner,
            "mirrors": {
                mirror: [
                    [e.number, e.ends_s, e.seen_s, *_both(e.given), *_both(e.taken)] for e in epochs
                ]
                for mirror, epochs in self.epochs.items()
            },
        }
        body = json.dumps(said, separators=(",", ":")).encode()
        return b"%b %08x\n%b" % (_MAGIC, zlib.crc32(body), body)

    @classmethod
    def unpack(cls, raw: bytes) -> Accounts:
        """What `pack` wrote.

        Raises:
            DamagedLedgerError: it is anything else.
        """
        head, _, body = raw.partition(b"\n")
        if head != b"%b %08x" % (_MAGIC, zlib.crc32(body)):
            raise DamagedLedgerError("the checksum is wrong")
        try:
            said = json.loads(body)
            epochs = {str(m): _read_epochs(rows) for m, rows in said["mirrors"].items()}
            return cls(str(said["purse"]), str(said["owner"]), epochs)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DamagedLedgerError(f"it is not of this form: {error!r}") from None


def _both(sums: dict[str, int]) -> tuple[int, int]:
    return sums[GENERAL], sums[RESERVE]


def _read_epochs(rows: Iterable[list[Any]]) -> list[Epoch]:
    found = []
    for number, ends_s, seen_s, *sums in rows:
        given_general, given_reserve, taken_general, taken_reserve = map(int, sums)
        if ends_s is not None and not math.isfinite(ends_s):
            raise ValueError("a time is none")
        found.append(
            Epoch(
                int(number),
                None if ends_s is None else float(ends_s),
                float(seen_s),
                {GENERAL: given_general, RESERVE: given_reserve},
                {GENERAL: taken_general, RESERVE: taken_reserve},
            )
        )
    return found
