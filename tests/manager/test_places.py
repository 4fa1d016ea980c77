"""What a mirror's file leaves open is filled from its host's address, and nothing else is."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from heliostat.geo.sources import builtin_places
from heliostat.geo.table import PlaceTable
from heliostat.manager import places as module
from heliostat.manager.places import (
    FOUND_AGAIN_S,
    NOT_FOUND_AGAIN_S,
    HostAddresses,
    PlaceFiller,
    Resolver,
)
from heliostat.model.mirror import Endpoint, Mirror, Scheme
from heliostat.model.place import Place

ADDRESSES = {
    "ftp.example.edu": "18.9.22.69",
    "campus.example": "10.1.2.3",
    "loop.example": "127.0.0.1",
}


@pytest.fixture(scope="module")
def table() -> PlaceTable:
    return builtin_places()


def mirror(host: str, place: Place = Place()) -> Mirror:  # noqa: B008  a frozen value
    endpoint = Endpoint("t", Scheme.HTTPS, f"https://{host}/pub/")
    return Mirror(host, place=place, endpoints=(endpoint,))


def filled_by(table: PlaceTable, resolver: Resolver, mirrors: list[Mirror]) -> list[Mirror]:
    addresses = HostAddresses(resolver)
    addresses.look_up(mirrors)
    return PlaceFiller(table, addresses).fill(mirrors)


def test_a_mirror_without_a_place_gets_that_of_its_address(table: PlaceTable) -> None:
    (filled,) = filled_by(table, ADDRESSES.get, [mirror("ftp.example.edu")])
    assert (filled.place.country, filled.place.continent) == ("US", "NA")
    assert filled.place.latitude == pytest.approx(42.4, abs=1)
    assert filled.asns == (3,)


def test_what_is_declared_stays(table: PlaceTable) -> None:
    declared = replace(mirror("ftp.example.edu", Place("DE", "", "", 0, 49.6, 11.0)), asns=(680,))
    (filled,) = filled_by(table, ADDRESSES.get, [declared])
    assert filled == replace(declared, place=replace(declared.place, continent="EU"))


def test_a_position_in_another_country_than_declared_is_not_believed(table: PlaceTable) -> None:
    (filled,) = filled_by(table, ADDRESSES.get, [mirror("ftp.example.edu", Place("DE"))])
    assert (filled.place.country, filled.place.latitude) == ("DE", None)


@pytest.mark.parametrize("host", ["campus.example", "loop.example", "unknown.example"])
def test_private_and_unknown_hosts_tell_nothing(table: PlaceTable, host: str) -> None:
    (filled,) = filled_by(table, ADDRESSES.get, [mirror(host)])
    assert filled == mirror(host)


def test_a_host_that_was_found_is_asked_for_again_after_an_hour() -> None:
    now_s = 1000.0
    asked: list[str] = []

    def resolver(host: str) -> str | None:
        asked.append(host)
        return ADDRESSES.get(host)

    addresses = HostAddresses(resolver, lambda: now_s)
    both = [mirror("ftp.example.edu"), mirror("ftp.example.edu")]
    assert addresses.look_up(both)
    now_s += FOUND_AGAIN_S - 1
    assert not addresses.look_up(both)
    assert asked == ["ftp.example.edu"]
    now_s += 1
    assert not addresses.look_up(both), "it is where it was"
    assert asked == ["ftp.example.edu"] * 2


def test_a_host_that_was_not_found_is_asked_for_again_after_a_minute() -> None:
    now_s = 1000.0
    known: dict[str, str] = {}

    addresses = HostAddresses(lambda host: known.get(host), lambda: now_s)
    assert not addresses.look_up([mirror("late.example")])
    known["late.example"] = "18.9.22.69"
    now_s += NOT_FOUND_AGAIN_S - 1
    assert not addresses.look_up([mirror("late.example")])
    now_s += 1
    assert addresses.look_up([mirror("late.example")])
    assert addresses.get("late.example") == "18.9.22.69"


def test_the_last_good_address_stays_when_a_later_lookup_fails() -> None:
    now_s, known = 1000.0, {"ftp.example.edu": "18.9.22.69"}
    addresses = HostAddresses(lambda host: known.get(host), lambda: now_s)
    addresses.look_up([mirror("ftp.example.edu")])
    known.clear()
    now_s += FOUND_AGAIN_S
    assert not addresses.look_up([mirror("ftp.example.edu")])
    assert addresses.get("ftp.example.edu") == "18.9.22.69"


def test_a_resolver_that_hangs_holds_nothing_up(
    table: PlaceTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RESOLVE_TIMEOUT_S", 0.2)
    ends = threading.Event()

    def resolve(host: str) -> str | None:
        if host == "slow.example":
            ends.wait(30)
        return ADDRESSES.get(host)

    try:
        filled = filled_by(table, resolve, [mirror("slow.example"), mirror("ftp.example.edu")])
    finally:
        ends.set()
    assert [one.place.country for one in filled] == ["", "US"]
