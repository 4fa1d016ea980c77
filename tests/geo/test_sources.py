"""Configured sources: their order, the built-in data behind them, and the cache."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from heliostat.config.load import LoadedConfig, load_config
from heliostat.geo.builtin import builtin_layers
from heliostat.geo.countries import CONTINENT_OF
from heliostat.geo.errors import GeoError, SourceFileError
from heliostat.geo.notices import notices
from heliostat.geo.sources import builtin_places, load_places
from heliostat.geo.table import PlaceTable

DATA = Path("src/heliostat/geo/data")
MAX_BUILTIN_BYTES = 15_000_000


@pytest.fixture(scope="module")
def builtin() -> PlaceTable:
    return builtin_places()


def configured(folder: Path, geo: str) -> LoadedConfig:
    path = folder / "heliostat.toml"
    path.write_text(f'data_dir = "data"\n{geo}')
    return load_config(path, {})


def slow_clock() -> Callable[[], float]:
    """A clock by which everything takes ten seconds."""
    ticks: Iterator[int] = count(0, 10)
    return lambda: float(next(ticks))


def test_a_configured_source_stands_before_the_built_in_one(tmp_path: Path) -> None:
    (tmp_path / "own.csv").write_text("8.8.8.0,8.8.8.127,CH\n10.0.0.0,10.255.255.255,NO\n")
    table = load_places(configured(tmp_path, '[[geo]]\npath = "own.csv"\n'))
    assert table.lookup("8.8.8.8").place.country == "CH"
    assert table.lookup("8.8.8.8").sources["country"] == "own.csv"
    assert table.lookup("8.8.8.8").place.asn == 15169
    assert table.lookup("8.8.8.200").place.country == "US"
    assert table.lookup("10.1.1.1").place.country == "NO"
    assert table.sources[0].name == "own.csv"
    assert any("DB-IP" in notice and "CC BY 4.0" in notice for notice in notices(table))


def test_fields_limit_a_source(tmp_path: Path) -> None:
    (tmp_path / "own.csv").write_text("8.8.8.0,8.8.8.255,CH,64500\n")
    geo = '[[geo]]\npath = "own.csv"\nfields = ["asn"]\n'
    place = load_places(configured(tmp_path, geo)).lookup("8.8.8.8").place
    assert (place.country, place.asn) == ("US", 64500)


def test_a_missing_file_is_named_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(SourceFileError, match=r"gone\.mmdb: no such file; .*geo update"):
        load_places(configured(tmp_path, '[[geo]]\npath = "gone.mmdb"\n'))


def test_a_file_that_takes_long_is_read_once(tmp_path: Path) -> None:
    source = tmp_path / "own.csv"
    source.write_text("8.8.8.0,8.8.8.255,CH\n")
    loaded = configured(tmp_path, '[[geo]]\npath = "own.csv"\n')
    cache = tmp_path / "data" / "geo"
    load_places(loaded, clock=lambda: 0.0)
    assert not cache.exists()
    load_places(loaded, clock=slow_clock())
    first = list(cache.iterdir())
    assert len(first) == 1
    assert load_places(loaded).lookup("8.8.8.8").sources["country"] == "own.csv"
    source.write_text("8.8.8.0,8.8.8.255,SE\n8.8.9.0,8.8.9.255,SE\n")
    assert load_places(loaded, clock=slow_clock()).lookup("8.8.8.8").place.country == "SE"
    second = list(cache.iterdir())
    assert len(second) == 1
    assert second != first


def test_a_damaged_cache_is_made_anew(tmp_path: Path) -> None:
    (tmp_path / "own.csv").write_text("8.8.8.0,8.8.8.255,CH\n")
    loaded = configured(tmp_path, '[[geo]]\npath = "own.csv"\n')
    load_places(loaded, clock=slow_clock())
    (cache,) = (tmp_path / "data" / "geo").iterdir()
    good = cache.read_bytes()
    cache.write_bytes(good[:-40])
    assert load_places(loaded, clock=slow_clock()).lookup("8.8.8.8").place.country == "CH"
    assert cache.read_bytes() == good


def test_a_cache_that_cannot_be_written_costs_only_time(tmp_path: Path) -> None:
    (tmp_path / "own.csv").write_text("8.8.8.0,8.8.8.255,CH\n")
    (tmp_path / "data").write_text("a file where the folder should be")
    loaded = configured(tmp_path, '[[geo]]\npath = "own.csv"\n')
    assert load_places(loaded, clock=slow_clock()).lookup("8.8.8.8").place.country == "CH"


@pytest.mark.parametrize(
    ("address", "country", "asn"),
    [
        ("8.8.8.8", "US", 15169),
        ("141.30.1.1", "DE", 680),
        ("133.11.0.1", "JP", 2501),
        ("200.160.2.3", "BR", 22548),
        ("2001:638::1", "DE", 680),
        ("192.168.1.1", "", 0),
        ("2001:db8::1", "", 0),
    ],
)
def test_the_built_in_data_knows_the_world(
    builtin: PlaceTable, address: str, country: str, asn: int
) -> None:
    found = builtin.lookup(address)
    assert (found.place.country, found.place.asn) == (country, asn)
    assert found.place.has_position == bool(country)
    assert bool(found.as_name) == bool(asn)


def test_the_built_in_data_is_finer_than_states(builtin: PlaceTable) -> None:
    texas = {
        (float(builtin.locations.latitude[row]), float(builtin.locations.longitude[row]))
        for row in range(len(builtin.locations))
        if builtin.locations.country_of(row) == "US"
        and builtin.locations.names[int(builtin.locations.subdivision[row])] == "Texas"
    }
    assert len(texas) > 20
    countries = {builtin.locations.country_of(row) for row in range(1, len(builtin.locations))}
    assert countries <= set(CONTINENT_OF)
    assert len(countries) > 230


def test_the_built_in_data_is_small_and_credits_its_makers() -> None:
    assert (DATA / "places.bin").stat().st_size < MAX_BUILTIN_BYTES
    notice = (DATA / "NOTICE.txt").read_text()
    for maker in ("DB-IP", "Route Views", "NRO", "CC BY 4.0"):
        assert maker in notice
    assert "maxmind" not in notice.lower()
    for layer in builtin_layers():
        assert layer.info.licence == "CC BY 4.0"
        assert layer.info.attribution
        assert layer.info.built_at is not None


def test_missing_built_in_data_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("heliostat.geo.builtin.DATA_NAME", "gone.bin")
    with pytest.raises(GeoError, match="install heliostat again"):
        builtin_places()
