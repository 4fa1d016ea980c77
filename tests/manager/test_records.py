"""What probes saw: states and their reasons, holdings, events."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from pyroaring import BitMap

from heliostat.config.load import LoadedConfig
from heliostat.manager.probing import models as rows
from heliostat.manager.probing.recording import (
    Outcome,
    as_listed,
    record_liveness,
    record_outcome,
    record_scan,
)
from heliostat.manager.probing.records import holdings, samples, scans, statuses
from heliostat.manager.registry.mirrors import events, get_mirror, list_mirrors
from heliostat.model.holding import Holding
from heliostat.model.mirror import MirrorState, MirrorStatus, Scheme
from heliostat.probe.results import Sample
from tests.manager.samples import (
    T0,
    WHEN,
    declare,
    endpoint,
    liveness,
    register,
    scan_failed,
    scanned,
    store_holding,
)

NAME = "a.example"


@pytest.fixture(autouse=True)
def one_mirror(loaded: LoadedConfig) -> None:
    register(declare(NAME))


def state() -> tuple[MirrorState, str]:
    status = statuses()[NAME]
    return status.state, status.reason


def test_a_new_mirror_is_good_once_both_probes_succeeded() -> None:
    assert state() == (MirrorState.NEW, "not looked at yet")
    assert record_liveness(liveness(NAME))
    assert state() == (MirrorState.NEW, "not scanned yet")
    assert record_scan(scanned(NAME, [1, 2]))
    assert state() == (MirrorState.GOOD, "")


def test_scan_before_liveness_does_as_well() -> None:
    record_scan(scanned(NAME, [1, 2]))
    assert state()[0] is MirrorState.NEW
    record_liveness(liveness(NAME))
    assert state()[0] is MirrorState.GOOD


def test_a_dead_mirror_fails_at_once_with_the_reason_and_is_back_after_one_success() -> None:
    record_liveness(liveness(NAME))
    record_scan(scanned(NAME, [1]))
    assert record_liveness(liveness(NAME, "https://a.example/: no answer within 5 s", T0 + 30))
    assert statuses()[NAME] == MirrorStatus(
        NAME,
        MirrorState.FAILING,
        "https://a.example/: no answer within 5 s",
        T0 + 30,
        statuses()[NAME].endpoints,
    )
    assert not record_liveness(liveness(NAME, "https://a.example/: still nothing", T0 + 60))
    assert statuses()[NAME].since_s == T0 + 30
    assert record_liveness(liveness(NAME, at_s=T0 + 90))
    assert statuses()[NAME].state is MirrorState.GOOD
    assert statuses()[NAME].since_s == T0 + 90


def test_one_that_stays_dead_is_out_and_has_to_prove_itself() -> None:
    record_liveness(liveness(NAME))
    record_scan(scanned(NAME, [1]))
    for turn in range(3):
        record_liveness(liveness(NAME, "no answer", T0 + 30 * turn))
    assert state() == (MirrorState.OUT, "no answer")
    record_liveness(liveness(NAME, at_s=T0 + 120))
    assert state() == (MirrorState.RETURNING, "answers again; serves after 1 more good look")
    record_liveness(liveness(NAME, at_s=T0 + 150))
    assert state() == (MirrorState.GOOD, "")
    moves = [(event.before, event.after) for event in events(NAME) if event.kind == "state"]
    assert moves[:4] == [
        ("returning", "good"),
        ("out", "returning"),
        ("failing", "out"),
        ("good", "failing"),
    ]


def test_a_scan_that_fails_later_takes_nothing_away() -> None:
    record_liveness(liveness(NAME))
    record_scan(scanned(NAME, [1, 2]))
    assert not record_scan(scan_failed(NAME, "rsync fails (max connections reached)", T0 + 60))
    assert state() == (MirrorState.GOOD, "")
    assert holdings("isos")[0].held == BitMap([1, 2])
    assert scans(NAME)[0].reason == "rsync fails (max connections reached)"


def test_a_first_scan_that_fails_puts_it_out_until_one_succeeds() -> None:
    record_liveness(liveness(NAME))
    record_scan(scan_failed(NAME, "rsync fails (unknown module)"))
    assert state() == (MirrorState.OUT, "rsync fails (unknown module)")
    record_liveness(liveness(NAME, at_s=T0 + 30))
    assert state()[0] is MirrorState.OUT
    record_scan(scanned(NAME, [1], T0 + 60))
    assert state()[0] is MirrorState.GOOD


def test_a_mirror_that_holds_nothing_is_out() -> None:
    record_liveness(liveness(NAME))
    record_scan(scanned(NAME, []))
    assert state() == (MirrorState.OUT, "holds no file of the catalog")


def test_one_living_endpoint_is_enough() -> None:
    both = (endpoint(NAME), endpoint(NAME, scheme=Scheme.HTTP))
    register(declare(NAME, endpoints=both))
    record_scan(scanned(NAME, [1]))
    record_liveness(liveness(NAME, "certificate expired", endpoints=both[:1]))
    assert state()[0] is MirrorState.OUT
    record_liveness(liveness(NAME, endpoints=both[1:]))
    status = statuses()[NAME]
    assert status.state is MirrorState.GOOD
    assert {e.endpoint.scheme: e.alive for e in status.endpoints} == {
        Scheme.HTTPS: False,
        Scheme.HTTP: True,
    }


def test_a_mirror_without_web_endpoints_is_out() -> None:
    register(declare(NAME, endpoints=(endpoint(NAME, scheme=Scheme.RSYNC),)))
    record_scan(scanned(NAME, [1]))
    assert state()[0] is MirrorState.OUT
    assert "no http or https endpoint" in state()[1]


def test_every_change_of_state_is_an_event_with_its_evidence() -> None:
    record_liveness(liveness(NAME))
    record_scan(scanned(NAME, [1]))
    record_liveness(liveness(NAME, "connection refused", T0 + 30))
    newest, older = [event for event in events(NAME) if event.kind == "state"][:2]
    assert (newest.before, newest.after) == ("good", "failing")
    assert newest.reason == "connection refused"
    assert newest.evidence["cause"] == "a look fails"
    assert newest.at == WHEN + timedelta(seconds=30)
    assert newest.evidence["endpoints"] == {"https://a.example/isos/": "connection refused"}
    assert newest.evidence["scans"] == {"isos": "holds 1 files"}
    assert (older.before, older.after) == ("new", "good")


def test_holdings_come_back_as_they_were() -> None:
    big = Holding(
        NAME, "isos", T0, "rsync", BitMap(range(1, 3_000_000, 2)), BitMap([7, 2**32 - 1]), "one", 7
    )
    assert store_holding(big)
    assert not store_holding(big)
    assert holdings("isos") == [big]
    assert holdings("docs") == []


def test_a_full_holding_is_small_in_the_database() -> None:
    store_holding(Holding(NAME, "isos", T0, "rsync", BitMap(range(1, 3_000_001))))
    assert len(bytes(rows.Scan.objects.get().held or b"")) < 2000


def test_a_scan_says_whether_files_came_or_went() -> None:
    assert record_scan(scanned(NAME, [1, 2]))
    assert not record_scan(scanned(NAME, [1, 2], T0 + 60))
    assert record_scan(scanned(NAME, [1, 3], T0 + 120))


def test_the_same_files_of_a_newer_or_another_catalog_are_news() -> None:
    record_scan(scanned(NAME, [1, 2], version=1))
    assert record_scan(scanned(NAME, [1, 2], T0 + 60, version=2))
    assert not record_scan(scanned(NAME, [1, 2], T0 + 120, version=2))
    held = holdings("isos")[0]
    assert (held.catalog_identity, held.catalog_version) == ("one", 2)
    assert store_holding(replace(held, catalog_identity="two"))
    assert holdings("isos")[0].catalog_identity == "two"


def test_a_scan_that_fails_leaves_what_the_holding_is_about() -> None:
    record_scan(scanned(NAME, [1], version=4))
    record_scan(scan_failed(NAME, "rsync fails", T0 + 60))
    assert holdings("isos")[0].catalog_version == 4


def test_samples_keep_names_that_are_no_text() -> None:
    record_scan(scanned(NAME, [1]))
    assert samples() == {(NAME, "isos"): (Sample(b"a/\xff name", 5, "one", 1),)}


def test_families_seen_in_dns_reach_the_mirror() -> None:
    assert get_mirror(NAME).has_ipv6
    assert record_liveness(liveness(NAME, has_ipv4=True, has_ipv6=False))
    assert [(m.has_ipv4, m.has_ipv6) for m in list_mirrors()] == [(True, False)]
    record_liveness(liveness(NAME, "no answer", T0 + 30))
    assert not get_mirror(NAME).has_ipv6


def test_results_for_mirrors_that_are_gone_are_passed_over() -> None:
    gone = "gone.example"
    assert not record_liveness(liveness(gone))
    assert not record_scan(scanned(gone, [1]))
    assert not store_holding(Holding(gone, "isos", T0, "rsync"))


def test_what_was_seen_elsewhere_is_not_said_of_a_mirror_declared_anew() -> None:
    result = scanned(NAME, [1, 2])
    assert result.holding is not None
    outcome = Outcome(NAME, "isos", T0, result, settled=as_listed(result.holding))
    here = frozenset({"https://a.example/isos/"})
    assert not record_outcome(replace(outcome, urls=frozenset({"https://old.example/isos/"})))
    assert holdings("isos") == []
    assert record_outcome(replace(outcome, urls=here))
    assert len(holdings("isos")) == 1
