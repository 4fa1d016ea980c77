"""A plan: what a provider has, what it should have, and the steps between; made to be read.

It can be saved and applied later; a stamp of what it was made from tells whether it is still true.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from heliostat.failover.errors import FailoverError, StaleError
from heliostat.failover.records import FAMILIES, TYPES, Addresses, addresses_of, check
from heliostat.model.node import Node

FORMAT = 1
MAX_PLAN_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Published:
    """What a provider has for the name. `digest` differs when any of it that is ours does."""

    addresses: Addresses
    digest: str
    serial: str = ""
    """Of the zone, where there is one."""
    foreign: Sequence[str] = ()
    """Records of the name that aren't ours, and are left alone."""
    details: Any = None
    """What the provider itself needs to plan."""


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do. `data` is the provider's own, JSON."""

    text: str
    data: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Plan:
    """Steps from what was there to what is wanted."""

    provider: str
    name: str
    made_from: str
    before: Addresses
    after: Addresses
    steps: Sequence[Step]
    notes: Sequence[str] = field(default=())

    def to_json(self) -> dict[str, Any]:
        """As it is saved and shown."""
        return {
            "format": FORMAT,
            "provider": self.provider,
            "name": self.name,
            "made_from": self.made_from,
            "before": _listed(self.before),
            "after": _listed(self.after),
            "steps": [{"text": step.text, "data": step.data} for step in self.steps],
            "notes": list(self.notes),
        }

    @classmethod
    def from_json(cls, raw: bytes) -> Plan:
        """Raises FailoverError: it isn't a plan."""
        try:
            body = json.loads(raw)
            if body["format"] != FORMAT:
                raise ValueError("of another version")
            return cls(
                str(body["provider"]),
                str(body["name"]),
                str(body["made_from"]),
                _read(body["before"]),
                _read(body["after"]),
                [Step(str(step["text"]), dict(step["data"])) for step in body["steps"]],
                [str(note) for note in body["notes"]],
            )
        except (ValueError, KeyError, TypeError) as error:
            raise FailoverError(f"this is no saved plan ({error}); make one anew") from None


class Provider(Protocol):
    """One way to have records. Every call has a timeout; errors are FailoverError."""

    name: str
    subject: str
    """The name in the DNS."""

    def read(self) -> Published:
        """What is there now."""
        ...

    def steps(self, published: Published, nodes: Sequence[Node], out: Sequence[Node]) -> list[Step]:
        """What would make it the addresses of `nodes`; nothing when it is so already.

        `out` are known nodes that are meant to have none.
        """
        ...

    def apply(self, step: Step) -> None:
        """Does one step; done again, it changes nothing more."""
        ...

    def notes(self, nodes: Sequence[Node]) -> list[str]:
        """What people should know: how soon a dead node is out, what it costs."""
        ...


def make(
    provider: Provider, nodes: Sequence[Node], known: Sequence[Node], *, force: bool = False
) -> Plan:
    """The plan to `nodes`; `known` has also those that are drained.

    Raises:
        UnsafeError: a rule says no.
        FailoverError: the provider can't be read.
    """
    published = provider.read()
    after = addresses_of(nodes)
    check(published.addresses, after, known, force=force)
    out = [node for node in known if node not in nodes]
    steps = provider.steps(published, nodes, out)
    foreign = [f"left alone, as it isn't ours: {text}" for text in published.foreign]
    return Plan(
        provider.name,
        provider.subject,
        stamp(published),
        published.addresses,
        after,
        steps,
        [*provider.notes(nodes), *foreign],
    )


def apply(provider: Provider, plan: Plan) -> None:
    """Does all steps of a plan that is still true.

    Raises:
        StaleError: the records changed since it was made.
        FailoverError: a step failed; the next plan has what is left.
    """
    if stamp(provider.read()) != plan.made_from:
        raise StaleError(
            "the records changed since this plan was made; nothing was done, make a new one"
        )
    for number, step in enumerate(plan.steps, 1):
        try:
            provider.apply(step)
        except FailoverError as error:
            left = len(plan.steps) - number + 1
            raise FailoverError(
                f"{step.text}: {error}; {number - 1} of {len(plan.steps)} steps are done, run"
                f" `heliostat dns apply --doit` again for the other {left}"
            ) from error


def stamp(published: Published) -> str:
    """Of what a plan is made from."""
    text = json.dumps([_listed(published.addresses), published.digest, published.serial])
    return hashlib.sha256(text.encode()).hexdigest()


def _listed(addresses: Addresses) -> dict[str, list[str]]:
    return {TYPES[family]: sorted(addresses[family]) for family in FAMILIES}


def _read(body: dict[str, list[str]]) -> Addresses:
    return {family: frozenset(map(str, body[TYPES[family]])) for family in FAMILIES}
