"""Takes a node out, and brings it back, without a failed download. Two hands: health and record.

Promises: each step is told; nobody is taken out when nobody else serves; a node comes back only
after it was seen to serve. What can be done when a node or a provider doesn't answer is done, and
what is missing is said. Import only after `setup_django`.

Theory. The mark in the database is the wish; the node hears it in the answer to its next report
(3 s) and answers health with 503, which works when every API is dead. The record is taken out at
the same time. After the TTL no resolver that keeps to it has the address; clients that still have
it are seen in the node's own requests a second.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from heliostat.config.load import LoadedConfig
from heliostat.failover.errors import FailoverError
from heliostat.failover.service import update_records
from heliostat.manager.errors import DrainRefusedError
from heliostat.manager.nodes.marks import mark_drained, unmark_drained
from heliostat.manager.nodes.registry import drained_nodes
from heliostat.manager.nodes.seen import check_serves, serving_nodes
from heliostat.manager.nodes.view import NodeView, node_view, node_views
from heliostat.model.errors import RefusedError

HEARS_S: Final = 20.0
"""A node that hasn't said within this that it is drained doesn't hear us."""
REPORTS_S: Final = 10.0
"""A node that is to come back reports anew within this."""
QUIET_PER_S: Final = 2.0
"""Requests a second that are only health checks of DNS providers and monitors."""
QUIET_SHARE: Final = 0.05
"""The same as a share of what there was before."""
TRAFFIC_S: Final = 600.0
"""Longest wait for the traffic to fall: some clients never ask the DNS again."""
POLL_S: Final = 1.0

Say = Callable[[str], None]


@dataclass(slots=True)
class Outcome:
    """`faults` are what is not as it should be; without any it is safe to stop the node."""

    faults: list[str] = field(default_factory=list)


def drain_node(
    loaded: LoadedConfig, name: str, say: Say, *, reason: str, wait: bool, force: bool
) -> Outcome:
    """Takes it out; with `wait` until it is safe to stop it.

    Raises:
        UnknownNodeError, DrainRefusedError: nothing was changed.
        RefusedError: a rule for records says no; the mark was taken back.
    """
    now = datetime.now(UTC)
    views = {view.node.name: view for view in node_views(loaded, now)}
    serving = serving_nodes(loaded, list(views.values()), now)
    names = [section.name for section in loaded.config.nodes]
    is_new = mark_drained(names, name, serving, reason=reason, force=force, now=now)
    said = views[name].condition
    rate_before = said.requests_per_s if said else 0.0
    say(f"{name} is marked as drained" if is_new else f"{name} was marked as drained before")
    outcome = Outcome()
    try:
        _update(loaded, say, outcome, force=force)
    except RefusedError:
        if is_new:
            unmark_drained(name)
        raise
    record_out_at = time.monotonic()
    if not wait:
        say("not waiting: its health answers 503 once it hears, within seconds")
        return outcome
    hears = _until(HEARS_S, lambda: _is_drained(node_view(loaded, name)))
    if hears:
        say("its health answers 503")
    else:
        outcome.faults.append(_unheard(node_view(loaded, name)))
    _wait_ttl(loaded, record_out_at, say)
    if hears:
        _wait_traffic(loaded, name, rate_before, say, outcome)
    return outcome


def undrain_node(loaded: LoadedConfig, name: str, say: Say, *, wait: bool, force: bool) -> Outcome:
    """Brings it back: first seen to serve, then its health, then its record.

    Raises:
        UnknownNodeError: nothing was changed.
        DrainRefusedError: it doesn't serve; nothing was changed.
    """
    outcome, begun = Outcome(), datetime.now(UTC)
    node_view(loaded, name)  # is there such a node?
    is_heard = _until(REPORTS_S, lambda: _has_reported(node_view(loaded, name), begun))
    reasons = check_serves(loaded, node_view(loaded, name), is_heard=is_heard)
    if reasons and not force:
        raise DrainRefusedError(
            f'"{name}" doesn\'t serve: {"; ".join(reasons)}; mend that first, or --force'
        )
    for reason in reasons:
        say(f"{name}: {reason}")
    was_drained = unmark_drained(name)
    say(f"{name} is no longer drained" if was_drained else f"{name} wasn't drained by the manager")
    if wait and not _until(HEARS_S, lambda: not _is_drained(node_view(loaded, name))):
        after = node_view(loaded, name)
        if after.condition is not None and after.condition.drained_by_hand:
            outcome.faults.append(
                f"{name} was drained by hand on the node: run `heliostat node undrain {name}` there"
            )
        else:
            outcome.faults.append(f"{name} hasn't said that it is back")
        return outcome
    _update(loaded, say, outcome, force=force)
    return outcome


def _update(loaded: LoadedConfig, say: Say, outcome: Outcome, *, force: bool) -> None:
    """Brings the records to who isn't drained."""
    try:
        applied = update_records(loaded, drained_nodes(), force=force)
    except FailoverError as error:
        outcome.faults.append(
            f"the records are not changed ({error}); `heliostat dns apply` tries again"
        )
        return
    if applied is None:
        say("[dns] provider is empty: whoever answers for the name goes by health alone")
    else:
        say("its record is changed" if applied.changed else "the records were right already")


def _has_reported(view: NodeView, since: datetime) -> bool:
    return view.reported_at is not None and view.reported_at > since


def _is_drained(view: NodeView) -> bool:
    said = view.condition
    return said is not None and (said.drained_by_manager or said.drained_by_hand)


def _unheard(view: NodeView) -> str:
    when = view.reported_at.isoformat(timespec="seconds") if view.reported_at else "never"
    return (
        f"{view.node.name} doesn't hear that it is drained (last report: {when}); run"
        f" `heliostat node drain {view.node.name}` on the node itself"
    )


def _wait_ttl(loaded: LoadedConfig, since_s: float, say: Say) -> None:
    left_s = since_s + loaded.config.dns.ttl_s - time.monotonic()
    if loaded.config.dns.provider and left_s > 0:
        say(f"waiting {left_s:.0f} s, until resolvers have forgotten it")
        time.sleep(left_s)


def _wait_traffic(
    loaded: LoadedConfig, name: str, before: float, say: Say, outcome: Outcome
) -> None:
    quiet = max(QUIET_PER_S, QUIET_SHARE * before)
    rate = 0.0
    told_s = time.monotonic()

    def is_quiet() -> bool:
        nonlocal rate, told_s
        said = node_view(loaded, name).condition
        rate = said.requests_per_s if said else 0.0
        if time.monotonic() - told_s > 10:
            told_s = time.monotonic()
            say(f"{rate:.1f} requests a second, {before:.1f} before")
        return rate <= quiet

    if _until(TRAFFIC_S, is_quiet):
        say(f"{rate:.1f} requests a second")
    else:
        outcome.faults.append(
            f"{name} still gets {rate:.1f} requests a second: clients that don't ask the DNS again"
        )


def _until(within_s: float, what: Callable[[], bool]) -> bool:
    end_s = time.monotonic() + within_s
    while not what():
        if time.monotonic() > end_s:
            return False
        time.sleep(POLL_S)
    return True
