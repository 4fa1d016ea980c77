"""Allowances: their sum never exceeds the limit, whatever nodes, reports and disks do."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from heliostat.budget.ledger import PARTS, Ledger, Part

LIMIT = {Part.GENERAL: 10_000, Part.RESERVE: 1_000}
NODES = ("fra", "nyc", "sgp")


@dataclass
class Disk:
    """What one node's disk holds: its purse, and of each epoch what was given and taken."""

    purse: str
    given: dict[int, dict[Part, int]] = field(default_factory=dict)
    taken: dict[int, dict[Part, int]] = field(default_factory=dict)


class Allowances(RuleBasedStateMachine):
    """Nodes and a manager whose messages are lost, repeated and reordered, and disks that die."""

    @initialize()
    def begin(self) -> None:
        self.ledger = Ledger()
        self.disks = {node: Disk(f"{node}-0") for node in NODES}
        self.spent = dict.fromkeys(PARTS, 0)
        """What really was spent, by all purses that ever were."""
        self.wire: list[tuple[str, Any]] = []
        self.lost = 0

    @rule(node=st.sampled_from(NODES))
    def reports(self, node: str) -> None:
        disk = self.disks[node]
        newest = sorted(disk.given)[-3:]
        said = (node, disk.purse, [(epoch, dict(disk.taken[epoch])) for epoch in newest])
        self.wire.append(("report", said))

    @rule(
        node=st.sampled_from(NODES),
        part=st.sampled_from(PARTS),
        more=st.integers(1, 4_000),
    )
    def gives(self, node: str, part: Part, more: int) -> None:
        live = self.ledger.live(node)
        if live is not None:
            grant = self.ledger.give(live, part, more, LIMIT[part])
            self.wire.append(("answer", (node, grant.purse, grant.epoch, dict(grant.given))))

    @rule(node=st.sampled_from(NODES))
    def asks_back(self, node: str) -> None:
        live = self.ledger.live(node)
        if live is not None:
            grant = self.ledger.renew(node, live.purse)
            self.wire.append(("answer", (node, grant.purse, grant.epoch, dict(grant.given))))

    @precondition(lambda self: self.wire)
    @rule(data=st.data(), again=st.booleans())
    def arrives(self, data: st.DataObject, again: bool) -> None:
        at = data.draw(st.integers(0, len(self.wire) - 1))
        kind, said = self.wire[at] if again else self.wire.pop(at)
        if kind == "report":
            node, purse, taken = said
            for epoch, of_epoch in taken:
                self.ledger.reported(node, purse, epoch, of_epoch)
            for epoch, _ in taken:
                self.ledger.acknowledged(node, purse, epoch)
            grant = self.ledger.begin(node, purse)
            self.wire.append(("answer", (node, grant.purse, grant.epoch, dict(grant.given))))
            return
        node, purse, epoch, given = said
        disk = self.disks[node]
        if purse != disk.purse or epoch < max(disk.given, default=0):
            return
        had = disk.given.get(epoch, dict.fromkeys(PARTS, 0))
        disk.given[epoch] = {part: max(had[part], given[part]) for part in PARTS}
        disk.taken.setdefault(epoch, dict.fromkeys(PARTS, 0))

    @precondition(lambda self: self.wire)
    @rule(data=st.data())
    def is_lost(self, data: st.DataObject) -> None:
        self.wire.pop(data.draw(st.integers(0, len(self.wire) - 1)))

    @rule(node=st.sampled_from(NODES), part=st.sampled_from(PARTS), wanted=st.integers(1, 3_000))
    def spends(self, node: str, part: Part, wanted: int) -> None:
        disk = self.disks[node]
        epoch = max(disk.given, default=None)
        if epoch is None:
            return
        taken = min(wanted, disk.given[epoch][part] - disk.taken[epoch][part])
        disk.taken[epoch][part] += taken
        self.spent[part] += taken

    @rule(node=st.sampled_from(NODES))
    def loses_its_disk(self, node: str) -> None:
        self.lost += 1
        self.disks[node] = Disk(f"{node}-{self.lost}")

    @invariant()
    def never_more_than_the_limit(self) -> None:
        for part in PARTS:
            committed = self.ledger.committed_bytes(part)
            assert self.spent[part] <= committed <= LIMIT[part]


Allowances.TestCase.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)
TestAllowances = Allowances.TestCase


def test_what_is_asked_back_is_free_once_the_node_has_shown_it_knows() -> None:
    ledger = Ledger()
    grant = ledger.give(ledger.begin("fra", "a"), Part.GENERAL, 900, 1_000)
    ledger.reported("fra", "a", grant.epoch, {Part.GENERAL: 100})
    assert ledger.committed_bytes() == 900
    renewed = ledger.renew("fra", "a")
    assert ledger.committed_bytes() == 900
    ledger.reported("fra", "a", grant.epoch, {Part.GENERAL: 150})
    ledger.acknowledged("fra", "a", renewed.epoch)
    assert ledger.committed_bytes() == 150
    assert ledger.give(renewed, Part.GENERAL, 5_000, 1_000).given[Part.GENERAL] == 850


def test_a_node_that_lost_its_disk_begins_with_nothing_and_the_old_counts_as_spent() -> None:
    ledger = Ledger()
    ledger.give(ledger.begin("fra", "a"), Part.GENERAL, 600, 1_000)
    fresh = ledger.begin("fra", "b")
    assert fresh.given[Part.GENERAL] == 0
    assert ledger.give(fresh, Part.GENERAL, 600, 1_000).given[Part.GENERAL] == 400
    assert ledger.committed_bytes() == 1_000


def test_a_report_of_another_purse_or_epoch_changes_nothing() -> None:
    ledger = Ledger()
    grant = ledger.give(ledger.begin("fra", "a"), Part.GENERAL, 600, 1_000)
    assert ledger.reported("fra", "b", grant.epoch, {Part.GENERAL: 5}) == 0
    assert ledger.reported("nyc", "a", grant.epoch, {Part.GENERAL: 5}) == 0
    assert ledger.taken_bytes() == 0
    assert ledger.reported("fra", "a", grant.epoch, {Part.GENERAL: 5}) == 5
    assert ledger.reported("fra", "a", grant.epoch, {Part.GENERAL: 4}) == 0


def test_a_ledger_that_forgot_counts_what_purses_have_of_later_epochs_and_goes_on_above() -> None:
    restored = Ledger(last_epoch=3)
    assert restored.reported("fra", "a", 9, {Part.GENERAL: 700}) == 700
    assert restored.committed_bytes() == 700
    fresh = restored.renew("fra", "a")
    assert fresh.epoch == 10
    assert restored.give(fresh, Part.GENERAL, 900, 1_000).given[Part.GENERAL] == 300
    assert restored.reported("nyc", "b", 2, {Part.GENERAL: 5}) == 0  # of a former period
