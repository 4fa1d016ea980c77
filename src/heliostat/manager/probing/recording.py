"""Writes what probes saw: each result in one transaction, with an event for all that changed.

Import only after `setup_django`; synchronous. Every function returns whether anything changed that
routing goes by. A mirror or endpoint that was removed meanwhile is passed over.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from urllib.parse import quote, unquote_to_bytes

from django.db import transaction
from pyroaring import BitMap

from heliostat.manager.probing import models as rows
from heliostat.manager.probing.events import changed_note, note_event
from heliostat.manager.probing.judge import Facts, ScanFact, reason_in, sight_of
from heliostat.manager.probing.machine import Memory, step
from heliostat.manager.probing.rates import price_of
from heliostat.manager.probing.records import BITMAPS, bitmap, datetime_of, endpoint_status
from heliostat.manager.probing.settle import Settled
from heliostat.manager.registry.models import Mirror
from heliostat.model.holding import Holding
from heliostat.model.mirror import EndpointStatus, MirrorState, Scheme
from heliostat.probe.choose import Spot
from heliostat.probe.freshness import Lag
from heliostat.probe.results import LivenessResult, ScanResult
from heliostat.probe.verify import VerifyResult

HTTP_SCHEMES = (Scheme.HTTPS.value, Scheme.HTTP.value)
LAGGING_AFTER_S: Final = 86_400.0
WRONG_STORED: Final = 100
"""Wrong pieces of one mirror that are remembered."""
PRICE_STEP_MS: Final = 2.0
"""A price that changed by less isn't worth a new state."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one job found of one mirror and tree.

    `result` None: its listing was not read this time. `settled` goes with a listing that is
    believed; `lost` (files lost, files had) with one that is in doubt.
    """

    mirror: str
    tree: str
    at_s: float
    result: ScanResult | None = None
    verified: VerifyResult | None = None
    settled: Settled | None = None
    lost: tuple[int, int] | None = None
    timestamp_at_s: int | None = None
    timestamp_lag_since_s: float | None = None
    urls: frozenset[str] = frozenset()
    """Where it looked; a mirror that was declared elsewhere meanwhile has to be looked at anew."""


def record_liveness(result: LivenessResult, lagging_after_s: float = LAGGING_AFTER_S) -> bool:
    """Stores one look at a mirror's endpoints and judges its state anew."""
    at = datetime_of(result.checked_at_s)
    with transaction.atomic():
        mirror = _locked(result.mirror)
        if mirror is None:
            return False
        changed = False
        by_key = {(e.tree, e.scheme, e.url): e for e in mirror.endpoints.all()}
        for seen in result.endpoints:
            endpoint = by_key.get((seen.endpoint.tree, seen.endpoint.scheme, seen.endpoint.url))
            if endpoint is not None:
                check = rows.EndpointCheck.objects.filter(endpoint=endpoint).first()
                check = check or rows.EndpointCheck(endpoint=endpoint, since=at)
                changed |= _record_endpoint(mirror, check, seen, result, at)
        status = _status_row(mirror, at)
        status.checked_at = at
        for family in ("has_ipv4", "has_ipv6"):
            value = getattr(result, family)
            if value is not None and value != getattr(status, family):
                setattr(status, family, value)
                changed = True
        return _judge(mirror, status, result.checked_at_s, lagging_after_s, is_look=True) or changed


def record_scan(result: ScanResult) -> bool:
    """Stores a listing alone, believed as it is (imports, tests)."""
    settled = None
    if result.holding is not None:
        settled = as_listed(result.holding)
    return record_outcome(
        Outcome(result.mirror, result.tree, result.tried_at_s, result, None, settled)
    )


def as_listed(holding: Holding) -> Settled:
    """A listing whose bytes nobody looked at."""
    empty = BitMap()
    return Settled(holding.held, holding.differing, empty, empty, empty, Lag(0, None))


def record_outcome(outcome: Outcome, lagging_after_s: float = LAGGING_AFTER_S) -> bool:
    """Stores what one job found; a listing that failed leaves the holding as it was."""
    at = datetime_of(outcome.at_s)
    with transaction.atomic():
        mirror = _locked(outcome.mirror)
        if mirror is None:
            return False
        if outcome.urls and outcome.urls != {
            e.url for e in mirror.endpoints.all() if e.tree == outcome.tree
        }:
            return False
        row = rows.Scan.objects.filter(mirror=mirror, tree=outcome.tree).first()
        row = row or rows.Scan(mirror=mirror, tree=outcome.tree)
        changed = _record_listing(mirror, row, outcome, at) if outcome.result else False
        if outcome.settled is not None:
            changed |= _record_settled(mirror, row, outcome, at)
        row.save()
        status = _status_row(mirror, at)
        if outcome.verified is not None:
            changed |= _record_verified(mirror, status, outcome, at)
        changed |= _judge(mirror, status, outcome.at_s, lagging_after_s, is_look=False)
        return changed


def rejudge(name: str, at: datetime) -> bool:
    """Judges a mirror anew whose endpoints were declared anew."""
    with transaction.atomic():
        mirror = _locked(name)
        if mirror is None or not rows.Status.objects.filter(mirror=mirror).exists():
            return False
        status = _status_row(mirror, at)
        return _judge(mirror, status, at.timestamp(), LAGGING_AFTER_S, is_look=False, fresh=True)


def _record_endpoint(
    mirror: Mirror,
    check: rows.EndpointCheck,
    seen: EndpointStatus,
    result: LivenessResult,
    at: datetime,
) -> bool:
    url = seen.endpoint.url
    is_new = check.pk is None
    turned = is_new or check.alive != seen.alive
    broken = list(seen.broken_families)
    changed = turned or broken != check.broken_families
    if turned:
        check.since = at
    if turned and not is_new:
        before, after = ("down", "alive") if seen.alive else ("alive", "down")
        reason = seen.reason or f"{url} answers"
        note_event(mirror.name, at, "endpoint", before, after, reason, {"url": url})
    notes = {str(kind): text for kind, text in result.notes.get(url, {}).items()}
    if seen.alive:
        changed_note(mirror.name, at, url, check.notes, notes)
        check.notes = notes
    check.alive, check.reason, check.broken_families = seen.alive, seen.reason, broken
    if (expires_s := result.certificates_s.get(url)) is not None:
        check.certificate_expires = datetime_of(expires_s)
    check.save()
    return changed


def _record_listing(mirror: Mirror, row: rows.Scan, outcome: Outcome, at: datetime) -> bool:
    result = outcome.result
    assert result is not None
    had_failed = row.tried_at is not None and not row.succeeded
    row.tried_at = at
    row.succeeded = result.holding is not None
    row.reason = result.fault.reason if result.fault else result.remark
    row.duration_s = result.duration_s
    if result.memory is not None:
        row.memory = result.memory
    evidence = {"tree": outcome.tree, "method": result.method.value if result.method else ""}
    if not row.succeeded:
        if not had_failed:
            note_event(mirror.name, at, "scan", "", "failed", row.reason, evidence)
        return False
    if outcome.lost is not None and result.holding is not None:
        lost, had = outcome.lost
        row.reason = (
            f"its listing of {outcome.tree} lacks {lost:,} of the {had:,} files it had;"
            " believed when a second one agrees"
        )
        if row.doubtful_at is None:
            note_event(mirror.name, at, "scan", "", "doubtful", row.reason, evidence)
        row.doubtful, row.doubtful_at = _packed(result.holding.held), at
        return False
    if had_failed:
        note_event(mirror.name, at, "scan", "failed", "succeeded", row.reason, evidence)
    if row.doubtful_at is not None:
        note_event(mirror.name, at, "scan", "doubtful", "believed", row.reason, evidence)
        row.doubtful = row.doubtful_at = None
    return False


def _record_settled(mirror: Mirror, row: rows.Scan, outcome: Outcome, at: datetime) -> bool:
    settled, result = outcome.settled, outcome.result
    assert settled is not None
    changed = bitmap(row.held) != settled.held or row.held_at is None
    if result is not None and result.holding is not None:
        holding = result.holding
        # The same files of a newer catalog are news, too: some may only now count as held.
        compared_with = (holding.catalog_identity, holding.catalog_version)
        changed |= compared_with != (row.catalog_identity, row.catalog_version)
        row.catalog_identity, row.catalog_version = compared_with
        row.held_at = datetime_of(holding.scanned_at_s)
        row.method = holding.method
        row.samples = [[quote(s.path, safe=""), s.size_bytes] for s in result.samples]
    row.held, row.held_count = _packed(settled.held), len(settled.held)
    row.differing, row.differing_count = _packed(settled.differing), len(settled.differing)
    row.verified, row.rejected = _packed(settled.verified), _packed(settled.rejected)
    row.unsure = _packed(settled.unsure)
    since_s = settled.lag.since_s
    if outcome.timestamp_lag_since_s is not None:
        since_s = int(min(since_s or outcome.timestamp_lag_since_s, outcome.timestamp_lag_since_s))
    row.behind_files = settled.lag.files
    row.behind_since = None if since_s is None else datetime_of(since_s)
    if outcome.timestamp_at_s is not None:
        row.timestamp_at = datetime_of(outcome.timestamp_at_s)
    if settled.lag.since_s is None and row.held_count and row.catalog_version:
        rows.Reached.objects.get_or_create(
            mirror=mirror,
            tree=row.tree,
            catalog_identity=row.catalog_identity,
            catalog_version=row.catalog_version,
            defaults={"at": at},
        )
    return changed


def _record_verified(mirror: Mirror, status: rows.Status, outcome: Outcome, at: datetime) -> bool:
    verified = outcome.verified
    assert verified is not None
    wrong = _evidence(outcome)
    rows.Verification.objects.create(
        mirror=mirror,
        tree=outcome.tree,
        at=at,
        vantage=verified.vantage,
        bytes_read=verified.bytes_read,
        pieces=verified.pieces,
        rate_bytes_per_s=verified.rate_bytes_per_s,
        faults=[piece["sentence"] for piece in wrong],
    )
    dropped = outcome.settled.dropped if outcome.settled else frozenset()
    before = list(status.wrong_bytes)
    stays = [
        piece
        for piece in before
        if piece["tree"] != outcome.tree
        or Spot(unquote_to_bytes(piece["path"]), piece["offset"]) not in dropped
    ]
    known = {(piece["tree"], piece["path"], piece["offset"]) for piece in stays}
    news = [p for p in wrong if (p["tree"], p["path"], p["offset"]) not in known]
    status.wrong_bytes = (stays + news)[:WRONG_STORED]
    if news:
        note_event(mirror.name, at, "bytes", "", "wrong", news[0]["sentence"], {"pieces": news})
    if before and not status.wrong_bytes:
        text = "what was wrong is right now, or gone"
        note_event(mirror.name, at, "bytes", "wrong", "right", text, {"pieces": before})
    rate, price_ms = price_of(mirror, at)
    changed = abs(price_ms - status.price_ms) >= PRICE_STEP_MS
    status.rate_bytes_per_s = rate
    if changed:
        status.price_ms = price_ms
    return changed


def _evidence(outcome: Outcome) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for piece in outcome.settled.wrong if outcome.settled else ():
        last = piece.offset + piece.length - 1
        seen = f"sha256 {piece.seen}" if len(piece.seen) == 64 else piece.seen
        found.append(
            {
                "tree": outcome.tree,
                "path": quote(piece.path, safe=""),
                "offset": piece.offset,
                "length": piece.length,
                "url": piece.url,
                "expected": piece.expected,
                "seen": piece.seen,
                "sentence": f"wrong bytes: {piece.url}, bytes {piece.offset}-{last}:"
                f" expected sha256 {piece.expected}, seen {seen}",
            }
        )
    verified = outcome.verified
    if verified is not None and verified.unserved:
        why = verified.unserved[0].reason
        found += [
            {
                "tree": outcome.tree,
                "path": quote(spot.path, safe=""),
                "offset": spot.offset,
                "sentence": why,
            }
            for spot in verified.unserved_spots
        ]
    return found


def _judge(
    mirror: Mirror,
    status: rows.Status,
    at_s: float,
    lagging_after_s: float,
    *,
    is_look: bool,
    fresh: bool = False,
) -> bool:
    """Moves the mirror by what is stored now. `fresh`: it was declared anew, and starts as new."""
    facts = _facts(mirror, status)
    sight, reason = sight_of(facts, at_s, lagging_after_s)
    memory = Memory.from_json(status.memory)
    state = MirrorState(status.state)
    if fresh and sight.answers is None and state is not MirrorState.NEW:
        _event(mirror, status, state, MirrorState.NEW, at_s, reason, "declared anew", facts)
        status.state, status.since, state = (
            MirrorState.NEW.value,
            datetime_of(at_s),
            MirrorState.NEW,
        )
        memory = Memory()
    moved = step(state, memory, sight, at_s, is_look=is_look)
    for move in moved.moves:
        _event(mirror, status, move.before, move.after, at_s, reason, move.cause.value, facts)
    if moved.moves:
        status.since = datetime_of(at_s)
    changed = status.state != moved.state.value
    status.state = moved.state.value
    status.reason = reason_in(moved.state, reason, moved.memory)
    status.memory = moved.memory.to_json()
    status.save()
    return changed


def _event(
    mirror: Mirror,
    status: rows.Status,
    before: MirrorState,
    after: MirrorState,
    at_s: float,
    reason: str,
    cause: str,
    facts: Facts,
) -> None:
    evidence = {
        "cause": cause,
        "endpoints": {s.endpoint.url: s.reason or "alive" for s in facts.endpoints},
        "scans": {f.tree: f.reason or f"holds {f.held} files" for f in facts.scans},
        "wrong": list(status.wrong_bytes),
    }
    text = "" if after.serves and after is not MirrorState.LAGGING else reason
    note_event(mirror.name, datetime_of(at_s), "state", before.value, after.value, text, evidence)


def _facts(mirror: Mirror, status: rows.Status) -> Facts:
    endpoints = [e for e in mirror.endpoints.all() if e.scheme in HTTP_SCHEMES]
    trees = {e.tree for e in mirror.endpoints.all()}
    scans = [
        ScanFact(
            s.tree,
            s.tried_at is not None,
            s.reason,
            s.held_at is not None,
            s.held_count,
            s.behind_files,
            s.behind_since.timestamp() if s.behind_since else None,
        )
        for s in rows.Scan.objects.filter(mirror=mirror).defer(*BITMAPS)
        if s.tree in trees
    ]
    wrong = [piece["sentence"] for piece in status.wrong_bytes if piece["tree"] in trees]
    return Facts(bool(endpoints), _seen(e.pk for e in endpoints), scans, wrong)


def _locked(name: str) -> Mirror | None:
    return Mirror.objects.select_for_update().filter(name=name).first()


def _status_row(mirror: Mirror, at: datetime) -> rows.Status:
    row = rows.Status.objects.filter(mirror=mirror).first()
    return row or rows.Status(mirror=mirror, state=MirrorState.NEW.value, since=at)


def _packed(found: BitMap) -> bytes:
    packed = found.copy()
    packed.run_optimize()  # a full holding of 3,000,000 files is then some bytes, not 375 kB
    return bytes(packed.serialize())


def _seen(endpoint_ids: Iterable[int]) -> list[EndpointStatus]:
    query = rows.EndpointCheck.objects.filter(endpoint__in=list(endpoint_ids))
    return [endpoint_status(row) for row in query.select_related("endpoint").order_by("endpoint")]
