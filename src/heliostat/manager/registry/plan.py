"""A plan: what applying mirror files would change, field by field. Pure.

Safety rule (the one of octodns): a plan that removes more than 30 % of 20 or more mirrors, or all
of them, is refused unless forced; a wrong path or an empty checkout looks exactly like that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from heliostat.manager.errors import TooManyRemovedError
from heliostat.manager.registry.declaration import Declaration
from heliostat.model.mirror import Mirror

MAX_REMOVED_SHARE = 0.30
MIN_MIRRORS_FOR_SHARE = 20


@dataclass(frozen=True, slots=True)
class FieldChange:
    """One key of a mirror file, old and new as text; "" means unset."""

    key: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class MirrorChange:
    name: str
    fields: tuple[FieldChange, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """What would change, and the declarations it was made from and leads to."""

    before: Mapping[str, Declaration]
    after: Mapping[str, Declaration]
    added: tuple[str, ...]
    changed: tuple[MirrorChange, ...]
    removed: tuple[str, ...]

    @property
    def is_empty(self) -> bool:
        return not (self.added or self.changed or self.removed)

    @property
    def summary(self) -> str:
        return (
            f"{len(self.added)} to add, {len(self.changed)} to change,"
            f" {len(self.removed)} to remove, {self.unchanged} unchanged"
        )

    @property
    def unchanged(self) -> int:
        return len(self.before) - len(self.changed) - len(self.removed)

    def to_json(self) -> dict[str, Any]:
        return {
            "added": {name: _set_fields(self.after[name]) for name in self.added},
            "changed": {
                change.name: {f.key: {"old": f.old, "new": f.new} for f in change.fields}
                for change in self.changed
            },
            "removed": list(self.removed),
            "unchanged": self.unchanged,
        }


def make_plan(
    before: Mapping[str, Declaration], wanted: Mapping[str, Declaration], *, partial: bool = False
) -> Plan:
    """From what is registered to what the files want; `partial` files remove nothing."""
    after = {**before, **wanted} if partial else dict(wanted)
    changed = tuple(
        MirrorChange(name, fields)
        for name in sorted(before.keys() & after.keys())
        if (fields := _differences(before[name], after[name]))
    )
    return Plan(
        before=dict(before),
        after=after,
        added=tuple(sorted(after.keys() - before.keys())),
        changed=changed,
        removed=tuple(sorted(before.keys() - after.keys())),
    )


def check_plan(plan: Plan) -> None:
    """Raises TooManyRemovedError when the safety rule forbids the plan."""
    removed, total = len(plan.removed), len(plan.before)
    if not removed:
        return
    if removed == total:
        what = "the only mirror" if total == 1 else f"all {total} mirrors"
        rule = "removing all is refused"
    elif total >= MIN_MIRRORS_FOR_SHARE and removed > total * MAX_REMOVED_SHARE:
        what = f"{removed} of {total} mirrors"
        rule = f"more than {MAX_REMOVED_SHARE:.0%} at once is refused"
    else:
        return
    raise TooManyRemovedError(
        f"this plan removes {what}; {rule}. Check the path, or say --force if it is meant"
    )


def _differences(old: Declaration, new: Declaration) -> tuple[FieldChange, ...]:
    old_fields, new_fields = old.fields(), new.fields()
    return tuple(
        FieldChange(key, old_fields.get(key, ""), new_fields.get(key, ""))
        for key in dict.fromkeys([*old_fields, *new_fields])
        if old_fields.get(key, "") != new_fields.get(key, "")
    )


def _set_fields(declaration: Declaration) -> dict[str, str]:
    """The fields that say something: defaults are left out."""
    defaults = Declaration(Mirror(declaration.mirror.name)).fields()
    return {k: v for k, v in declaration.fields().items() if v != defaults.get(k, "")}
