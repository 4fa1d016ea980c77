"""What people declare: plans, applying them, pausing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from heliostat.config.load import LoadedConfig
from heliostat.manager.errors import (
    DeclaredDisabledError,
    PlanOutdatedError,
    TooManyRemovedError,
    UnknownMirrorError,
)
from heliostat.manager.probing.recording import record_liveness, record_scan
from heliostat.manager.probing.records import statuses
from heliostat.manager.registry.apply import apply_plan
from heliostat.manager.registry.declaration import Declaration
from heliostat.manager.registry.mirrors import (
    declarations,
    events,
    get_mirror,
    list_mirrors,
    set_enabled,
)
from heliostat.manager.registry.plan import FieldChange, check_plan, make_plan
from heliostat.model.budget import Budget, Capacity, ProviderSource
from heliostat.model.errors import EXIT_REFUSED
from heliostat.model.mirror import MirrorKind, MirrorState, Scheme
from heliostat.model.place import Place
from tests.manager.samples import WHEN, declare, endpoint, liveness, register, scanned

FULL = Declaration(
    declare(
        "ftp.example.edu",
        kind=MirrorKind.CDN,
        sponsor="Universität Beispiel",
        place=Place(country="DE", subdivision="BY", asn=680, latitude=49.57, longitude=11.03),
        asns=(680, 4294967295),
        networks=("198.51.100.0/24", "2001:db8:17::/48"),
        private=True,
        bandwidth_mbps=10_000,
        exclude_countries=("CU", "IR"),
        max_file_bytes=5_000_000_000,
        budget=Budget(
            50_000_000_000_000, 15, provider=ProviderSource("fastly", "SU1Z", token_file="t")
        ),
        capacity=Capacity(10_000, 0.3),
        only_beyond_ms=60.0,
        first_hours=24.0,
        pops=((50.1, 8.7), (35.7, 139.7)),
        endpoints=(
            endpoint("ftp.example.edu"),
            endpoint("ftp.example.edu", scheme=Scheme.RSYNC),
            endpoint("ftp.example.edu", tree="docs"),
        ),
    ).mirror,
    city="Erlangen",
)


def many(count: int) -> dict[str, Declaration]:
    return {f"m{i:03}.example": declare(f"m{i:03}.example") for i in range(count)}


def test_everything_declared_comes_back(loaded: LoadedConfig) -> None:
    register(FULL)
    stored = declarations()["ftp.example.edu"]
    assert set(stored.mirror.endpoints) == set(FULL.mirror.endpoints)
    assert replace(stored, mirror=replace(stored.mirror, endpoints=FULL.mirror.endpoints)) == FULL


def test_a_plan_names_old_and_new_of_each_field() -> None:
    new = replace(
        FULL,
        mirror=replace(
            FULL.mirror,
            place=replace(FULL.mirror.place, country="FR"),
            endpoints=(endpoint("cdn.example"),),
            budget=None,
        ),
    )
    plan = make_plan({"ftp.example.edu": FULL}, {"ftp.example.edu": new})
    assert plan.changed[0].fields == (
        FieldChange("country", "DE", "FR"),
        FieldChange("budget.bytes_per_month", "50000000000000", ""),
        FieldChange("budget.reset_day", "15", ""),
        FieldChange("budget.reserve_share", "0.05", ""),
        FieldChange("budget.stop_share", "0.98", ""),
        FieldChange("budget.completion", "0", ""),
        FieldChange("budget.provider.kind", "fastly", ""),
        FieldChange("budget.provider.service", "SU1Z", ""),
        FieldChange("budget.provider.token_file", "t", ""),
        FieldChange("budget.provider.delay_s", "0", ""),
        FieldChange("url.isos.https", "https://ftp.example.edu/isos/", "https://cdn.example/isos/"),
        FieldChange("url.isos.rsync", "rsync://ftp.example.edu/isos/", ""),
        FieldChange("url.docs.https", "https://ftp.example.edu/docs/", ""),
    )


def test_applying_twice_changes_nothing_the_second_time(loaded: LoadedConfig) -> None:
    wanted = {"ftp.example.edu": FULL, **many(3)}
    apply_plan(make_plan({}, wanted))
    assert make_plan(declarations(), wanted).is_empty


def test_applying_adds_changes_and_removes(loaded: LoadedConfig) -> None:
    register(declare("a.example"), declare("b.example"), declare("c.example"))
    register(declare("a.example"), declare("b.example", sponsor="New"), declare("d.example"))
    assert [(m.name, m.sponsor) for m in list_mirrors()] == [
        ("a.example", ""),
        ("b.example", "New"),
        ("d.example", ""),
    ]
    assert [event.kind for event in events("c.example")] == ["removed", "added"]


def test_one_file_alone_removes_nobody() -> None:
    plan = make_plan(many(3), {"new.example": declare("new.example")}, partial=True)
    assert (plan.added, plan.removed) == (("new.example",), ())


@pytest.mark.parametrize(
    ("registered", "removed", "refused"),
    [
        (20, 6, False),
        (20, 7, True),
        (100, 30, False),
        (100, 31, True),
        (19, 18, False),
        (19, 19, True),
        (1, 1, True),
        (0, 0, False),
    ],
)
def test_removing_too_many_is_refused(registered: int, removed: int, refused: bool) -> None:
    before = many(registered)
    plan = make_plan(before, dict(list(before.items())[removed:]))
    if not refused:
        check_plan(plan)
        return
    with pytest.raises(TooManyRemovedError, match="--force") as caught:
        check_plan(plan)
    assert caught.value.exit_code == EXIT_REFUSED


def test_a_refused_plan_changes_nothing_unless_forced(loaded: LoadedConfig) -> None:
    register(declare("a.example"))
    plan = make_plan(declarations(), {})
    with pytest.raises(TooManyRemovedError):
        apply_plan(plan)
    assert len(list_mirrors()) == 1
    apply_plan(plan, force=True)
    assert list_mirrors() == []


def test_a_plan_made_from_an_older_registry_is_refused(loaded: LoadedConfig) -> None:
    register(declare("a.example"))
    plan = make_plan(declarations(), {**declarations(), "b.example": declare("b.example")})
    register(declare("a.example", sponsor="Somebody else was here"))
    with pytest.raises(PlanOutdatedError):
        apply_plan(plan)
    assert [m.name for m in list_mirrors()] == ["a.example"]


def test_an_operators_pause_stands_apart_from_the_file(loaded: LoadedConfig) -> None:
    register(declare("a.example"))
    assert set_enabled("a.example", False, reason="disk is being replaced", now=WHEN)
    assert not set_enabled("a.example", False, reason="disk is being replaced", now=WHEN)
    register(declare("a.example", sponsor="Changed"))
    assert not get_mirror("a.example").enabled
    assert declarations()["a.example"].mirror.enabled
    assert set_enabled("a.example", True, now=WHEN)
    assert get_mirror("a.example").enabled
    kinds = [event.kind for event in events("a.example")]
    assert kinds == ["enabled", "changed", "disabled", "added"]


def test_a_mirror_that_its_file_disables_cant_be_enabled_by_hand(loaded: LoadedConfig) -> None:
    register(declare("a.example", enabled=False))
    assert not get_mirror("a.example").enabled
    with pytest.raises(DeclaredDisabledError, match="enabled = false"):
        set_enabled("a.example", True, now=WHEN)


def test_an_unknown_name_gives_the_nearest_known_one(loaded: LoadedConfig) -> None:
    register(declare("ftp.example.edu"))
    with pytest.raises(UnknownMirrorError, match=r'did you mean "ftp\.example\.edu"'):
        get_mirror("ftp.exampl.edu")


def test_a_new_url_must_be_looked_at_before_it_gets_traffic(loaded: LoadedConfig) -> None:
    register(declare("a.example", endpoints=(endpoint("a.example"),)))
    record_liveness(liveness("a.example"))
    record_scan(scanned("a.example", [1]))
    assert statuses()["a.example"].state is MirrorState.GOOD
    register(declare("a.example", endpoints=(endpoint("b.example"),)))
    assert statuses()["a.example"].state is MirrorState.NEW
    assert statuses()["a.example"].endpoints == ()


def test_a_url_that_stays_keeps_what_the_probes_know(loaded: LoadedConfig) -> None:
    register(declare("a.example"))
    record_liveness(liveness("a.example"))
    record_scan(scanned("a.example", [1]))
    register(declare("a.example", endpoints=(endpoint("a.example"), endpoint("a.example", "docs"))))
    assert statuses()["a.example"].state is MirrorState.GOOD
