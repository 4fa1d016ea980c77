"""Sane choices over several hundred real mirrors, real networks and real places."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import mean, median

import numpy as np
import pytest

from heliostat.config.load import LoadedConfig
from heliostat.config.schema import Config
from heliostat.geo.countries import CONTINENT_OF
from heliostat.geo.sources import load_places
from heliostat.geo.table import PlaceTable
from heliostat.geo.zones import build_zones
from heliostat.geo.zonetable import ZoneTable
from heliostat.model.mirror import Mirror
from heliostat.model.place import Place, distance_km
from heliostat.model.tree import Tree
from heliostat.routing.router import Router
from heliostat.routing.shares import Row
from heliostat.routing.world import Request, RoutedMirror, World
from tests.support.shared import read_csv, read_jsonl, shared_file

COUNTRIES = 40
NETWORKS_PER_COUNTRY = 60
OWN_AS_WITHIN_KM = 100.0
"""Two ms less for the same AS are worth 125 km."""


@dataclass(frozen=True)
class Client:
    address: str
    zone: int
    place: Place
    row: Row
    costs_ms: tuple[float, ...]
    distances_km: dict[int, float]
    """To every eligible mirror with a known position."""

    @property
    def nearest_km(self) -> float:
        return min(self.distances_km.values())


@dataclass(frozen=True)
class Scene:
    mirrors: list[RoutedMirror]
    router: Router
    zones: ZoneTable
    places: PlaceTable
    networks: list[str]


def test_nobody_is_sent_astray(capsys: pytest.CaptureFixture[str]) -> None:
    scene, clients = _scene(), _clients()
    in_country = [client for client in clients if _has_near_mirror_at_home(scene, client)]
    served_at_home = sum(
        _first_country(scene, client) == client.place.country for client in in_country
    )
    first_km = median(client.distances_km[client.row.mirrors[0]] for client in clients)
    nearest_km = median(client.nearest_km for client in clients)
    sharing_ms = mean(_mean_cost_ms(client) - client.row.costs_ms[0] for client in clients)
    astray_km = max(
        client.distances_km[mirror] - client.nearest_km
        for client in clients
        for mirror in client.row.mirrors
        if mirror in client.distances_km
    )
    slowest = sorted(clients, key=lambda client: -client.row.costs_ms[0])
    with capsys.disabled():
        print(f"\n{len(scene.mirrors)} mirrors, {len(clients)} networks in {COUNTRIES} countries")
        print(
            f"served in their country: {served_at_home / len(in_country):.1%} of"
            f" {len(in_country)} with a mirror there within 1,000 km"
        )
        print(
            f"median distance: {first_km:.0f} km to the first, {nearest_km:.0f} km to the nearest"
        )
        print(f"sharing adds {sharing_ms:.2f} ms; furthest past the nearest: {astray_km:.0f} km")
        print("slowest places:", "; ".join(_worst_places(scene, slowest)))
    assert served_at_home >= 0.95 * len(in_country)
    assert first_km <= 1.15 * nearest_km
    assert sharing_ms <= 3.0
    assert astray_km <= 1500


def test_a_declared_network_gets_its_own_mirror() -> None:
    scene = _scene()
    looked_at = 0
    for index, routed in enumerate(scene.mirrors):
        for text in routed.mirror.networks:
            address = str(ipaddress.ip_network(text)[0])
            row = _row(scene, scene.zones.zone_of(address), ":" in address)
            declared = set(scene.zones.networks(scene.zones.zone_of(address)))
            assert index in row.mirrors
            assert row.costs_ms[0] == 0.0
            assert all(declared & scene.mirrors[other].networks for other in row.mirrors)
            looked_at += 1
    assert looked_at >= 30


def test_an_own_as_is_preferred_where_a_mirror_of_it_is_near() -> None:
    scene, clients = _scene(), _clients()
    looked_at = 0
    for client in clients:
        own = {
            index: km
            for index, km in client.distances_km.items()
            if client.place.asn in scene.mirrors[index].mirror.asns
            and scene.mirrors[index].mirror.place.country == client.place.country
        }
        if client.place.asn and own and min(own.values()) <= client.nearest_km + OWN_AS_WITHIN_KM:
            first = scene.mirrors[client.row.mirrors[0]].mirror
            assert client.place.asn in first.asns, (client.address, first.name)
            looked_at += 1
    assert looked_at > 0


def _has_near_mirror_at_home(scene: Scene, client: Client) -> bool:
    return any(
        km <= 1000 and scene.mirrors[index].mirror.place.country == client.place.country
        for index, km in client.distances_km.items()
    )


def _first_country(scene: Scene, client: Client) -> str:
    return scene.mirrors[client.row.mirrors[0]].mirror.place.country


def _mean_cost_ms(client: Client) -> float:
    return sum(
        cost_ms * share
        for cost_ms, share in zip(client.row.costs_ms, client.row.shares, strict=True)
    )


def _worst_places(scene: Scene, slowest: list[Client]) -> list[str]:
    worst: dict[str, str] = {}
    for client in slowest:
        mirror = scene.mirrors[client.row.mirrors[0]].mirror
        text = f"{client.place.subdivision}, {client.place.country}"
        words = f"{text} {client.row.costs_ms[0]:.0f} ms to {mirror.place.country}"
        worst.setdefault(text, words)
        if len(worst) == 10:
            break
    return list(worst.values())


def _row(scene: Scene, zone: int, is_ipv6: bool) -> Row:
    return scene.router.row(zone, 0, 0, False, is_ipv6)


@cache
def _scene() -> Scene:
    mirrors = [*_almalinux(), *_debian()]
    networks = sorted({network for mirror in mirrors for network in mirror.networks})
    number = {network: index for index, network in enumerate(networks)}
    routed = [
        RoutedMirror(
            mirror,
            "",
            (f"https://{mirror.name}/",),
            (f"http://{mirror.name}/",),
            frozenset(number[network] for network in mirror.networks),
        )
        for mirror in mirrors
    ]
    places = load_places(LoadedConfig(Path("none.toml"), Config()))
    asns = frozenset(asn for mirror in mirrors for asn in mirror.asns)
    zones = build_zones(places, asns=asns, networks=networks)
    world = World(
        [Tree("t", "/srv/t")],
        routed,
        [np.ones(len(routed), dtype=np.bool_)],
        lambda zone: (zones.place(zone), frozenset(zones.networks(zone))),
    )
    return Scene(routed, Router(world), zones, places, networks)


@cache
def _clients() -> list[Client]:
    """Random networks of the countries with the most addresses, by real allocations."""
    scene = _scene()
    rng = np.random.default_rng(20261122)
    demand = read_csv(shared_file("demand-by-country.csv"))[:COUNTRIES]
    wanted = {row["country"]: NETWORKS_PER_COUNTRY for row in demand}
    clients = []
    for value in rng.integers(1 << 24, 224 << 24, 400_000, dtype=np.uint32):
        address = str(ipaddress.IPv4Address(int(value)))
        zone = scene.zones.zone_of(address)
        place = scene.zones.place(zone)
        if not place.has_position or not wanted.get(place.country):
            continue
        wanted[place.country] -= 1
        clients.append(_client(scene, address, zone, place))
    assert len(clients) > COUNTRIES * NETWORKS_PER_COUNTRY * 0.9
    return clients


def _client(scene: Scene, address: str, zone: int, place: Place) -> Client:
    request = Request(b"f", 0, 0, 1, zone, 0, False, False)
    assert place.latitude is not None
    assert place.longitude is not None
    distances = {
        index: distance_km(place.latitude, place.longitude, m.latitude, m.longitude)
        for index, routed in enumerate(scene.mirrors)
        if (m := routed.mirror.place).latitude is not None
        and m.longitude is not None
        and not scene.router.why_not(index, request)
    }
    row = _row(scene, zone, False)
    return Client(address, zone, place, row, tuple(row.costs_ms), distances)


def _almalinux() -> list[Mirror]:
    found = []
    for entry in read_jsonl(shared_file("mirrors-almalinux.jsonl")):
        asn = entry["asn"]
        found.append(
            Mirror(
                f"{entry['name']}/alma",
                place=_place(entry),
                asns=tuple(asn) if isinstance(asn, list) else ((asn,) if asn else ()),
                networks=tuple(
                    str(ipaddress.ip_network(subnet, strict=False)) for subnet in entry["subnets"]
                ),
                private=bool(entry["private"]),
            )
        )
    return found


def _debian() -> list[Mirror]:
    entries = read_jsonl(shared_file("mirrors-debian.jsonl"))
    return [Mirror(f"{entry['name']}/debian", place=_place(entry)) for entry in entries]


def _place(entry: dict[str, object]) -> Place:
    country = str(entry["country"] or "")
    latitude, longitude = entry["lat"], entry["lon"]
    return Place(
        country,
        CONTINENT_OF.get(country, ""),
        "",
        0,
        float(str(latitude)) if latitude is not None else None,
        float(str(longitude)) if longitude is not None else None,
    )
