"""Mirror files: the exact form, what is made of it, and what every fault says."""

from __future__ import annotations

import ipaddress
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import tomlkit
from hypothesis import given, settings
from hypothesis import strategies as st

from heliostat.config.errors import ConfigError
from heliostat.manager.registry.mirror_file import read_mirror_file, read_mirror_files
from heliostat.manager.registry.mirror_form import MirrorFile, endpoint_url
from heliostat.model.budget import Budget, Capacity, ProviderSource
from heliostat.model.mirror import Endpoint, MirrorKind, Scheme

REFERENCE = Path(__file__).parents[2] / "docs" / "reference" / "mirror-file.md"
TREES = ("systemrescue", "docs")
FULL = """\
name = "ftp.example.edu"
sponsor = "Example University"
country = "de"
latitude = 49.57
longitude = 11
asn = [680]
networks = ["198.51.100.7/24", "2001:db8:17::/48"]   # clients it serves first
private = false                                      # true: serves only those networks
bandwidth_mbps = 10000
exclude_countries = []
max_file_bytes = 0                                   # 0: no limit
[budget]                                             # optional
bytes_per_month = 50_000_000_000_000
reset_day = 1
[[url]]
tree = "systemrescue"
https = "https://FTP.example.edu/systemrescue"
rsync = "rsync://ftp.example.edu/systemrescue/"
[[url]]
tree = "docs"
http = "http://ftp.example.edu:8080/"
"""
SMALL = 'name = "m.example"\n[[url]]\ntree = "docs"\nhttp = "http://m.example/"\n'


def write(folder: Path, text: str, name: str = "m.toml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


SCARCE = """\
kind = "cdn"
[budget]
bytes_per_month = 100_000_000_000_000
reset_day = 15
reserve_share = 0.1
stop_share = 0.97
completion = 0.8
[budget.provider]
kind = "fastly"
service = "SU1Z0isxPaozGVKXdv0eY"
token_file = "/etc/heliostat/fastly.token"
[capacity]
mbps = 40000
headroom = 0.25
[priority]
only_beyond_ms = 40
first_hours = 24
[[pop]]
latitude = 50.1
longitude = 8.7
"""


def test_what_is_scarce_is_read_whole(tmp_path: Path) -> None:
    text = SMALL.replace("[[url]]", SCARCE + "[[url]]")
    mirror = read_mirror_file(write(tmp_path, text), TREES).mirror
    assert mirror.kind is MirrorKind.CDN
    assert mirror.budget == Budget(
        100_000_000_000_000,
        15,
        0.1,
        0.97,
        0.8,
        ProviderSource("fastly", "SU1Z0isxPaozGVKXdv0eY", token_file="/etc/heliostat/fastly.token"),
    )
    assert mirror.capacity == Capacity(40_000, 0.25)
    assert (mirror.only_beyond_ms, mirror.first_hours) == (40, 24)
    assert mirror.pops == ((50.1, 8.7),)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[pop]]\nlatitude = 1\nlongitude = 2\n", "[[pop]] is of a CDN alone"),
        ("[capacity]\nmbps = 0\n", "greater than 0"),
        ("[budget]\nbytes_per_month = 1\nreset_day = 31\n", "less than or equal to 28"),
        ('[budget]\nbytes_per_month = 1\n[budget.provider]\nkind = "json"\n', '"query"'),
        ('[budget]\nbytes_per_month = 1\n[budget.provider]\nkind = "fastly"\n', "token_file"),
        ("[priority]\nonly_beyond = 3\n", "only_beyond_ms"),
    ],
)
def test_a_fault_in_what_is_scarce_is_named(tmp_path: Path, text: str, said: str) -> None:
    path = write(tmp_path, SMALL.replace("[[url]]", text + "[[url]]"))
    with pytest.raises(ConfigError) as caught:
        read_mirror_file(path, TREES)
    assert said in str(caught.value)
    assert "m.toml:" in str(caught.value)


def test_the_documented_form_is_read_whole(tmp_path: Path) -> None:
    declaration = read_mirror_file(write(tmp_path, FULL), TREES)
    mirror = declaration.mirror
    assert (mirror.name, mirror.sponsor) == ("ftp.example.edu", "Example University")
    assert mirror.kind is MirrorKind.MIRROR
    assert (mirror.place.country, mirror.place.asn) == ("DE", 680)
    assert (mirror.place.latitude, mirror.place.longitude) == (49.57, 11.0)
    assert mirror.networks == ("198.51.100.0/24", "2001:db8:17::/48")
    assert mirror.bandwidth_mbps == 10_000
    assert declaration.mirror.budget == Budget(50_000_000_000_000, 1)
    assert mirror.endpoints == (
        Endpoint("systemrescue", Scheme.HTTPS, "https://ftp.example.edu/systemrescue/"),
        Endpoint("systemrescue", Scheme.RSYNC, "rsync://ftp.example.edu/systemrescue/"),
        Endpoint("docs", Scheme.HTTP, "http://ftp.example.edu:8080/"),
    )


def test_what_isnt_said_stays_open(tmp_path: Path) -> None:
    declaration = read_mirror_file(write(tmp_path, SMALL), TREES)
    assert declaration.mirror.enabled
    assert not declaration.mirror.place.has_position
    assert declaration.mirror.budget is None


@pytest.mark.parametrize(
    ("change", "line", "says"),
    [
        (("sponsor =", "sponsr ="), 2, 'unknown key "sponsr"; did you mean "sponsor"?'),
        (("tree = ", "tre = "), 16, 'unknown key "url.tre"; did you mean "tree"?'),
        (("reset_day = 1", "reset_day = 31"), 14, "budget.reset_day"),
        (('"de"', '"Germany"'), 3, "not an ISO 3166-1 code"),
        (("49.57", "95.0"), 4, "latitude"),
        (("49.57", '"49.57"'), 4, "latitude"),
        (("longitude = 11\n", "\n"), 4, '"latitude" stands without "longitude"'),
        (("[680]", "680"), 6, "asn"),
        (("[680]", "[0]"), 6, "asn"),
        (("198.51.100.7/24", "198.51.100.7/33"), 7, "is not a network"),
        (("private = false", 'private = "no"'), 8, "private"),
        (("bandwidth_mbps = 10000", "bandwidth_mbps = -1"), 9, "bandwidth_mbps"),
        (('"systemrescue"', '"systemrescu"'), 16, 'no tree is called "systemrescu"'),
        (("https://FTP", "http://FTP"), 17, "is not a https:// URL"),
        (("https://FTP", "https://me:pw@FTP"), 17, "user name"),
        (("edu/systemrescue\"", "edu/a?b=c\""), 17, "query"),
        (("edu/systemrescue\"", "edu/a b\""), 17, "percent-encode"),
        (("https://FTP.", "https://FTP.."), 17, "nothing between two dots"),
        (("edu/systemrescue/\"", "edu/x%00y/\""), 18, "the control character %00"),
        (("edu/systemrescue/\"", "edu/\""), 18, "names no module"),
        (('tree = "docs"\nhttp = ', 'tree = "systemrescue"\nhttps = '), 21, "https"),
        (('http = "http://ftp.example.edu:8080/"', ""), 19, "has no URL"),
        (('"ftp.example.edu"', '"ftp example"'), 1, "name"),
        (("Example University", "bell \\u0007"), 2, "can't be shown"),
    ],
)  # fmt: skip
def test_a_fault_names_file_line_and_key(
    tmp_path: Path, change: tuple[str, str], line: int, says: str
) -> None:
    text = FULL.replace(*change, 1)
    assert text != FULL
    path = write(tmp_path, text)
    with pytest.raises(ConfigError, match=re.escape(says)) as caught:
        read_mirror_file(path, TREES)
    assert str(caught.value).startswith(f"{path}:{line}: ")


def test_a_second_url_for_one_tree_and_scheme_is_a_fault(tmp_path: Path) -> None:
    text = SMALL + '[[url]]\ntree = "docs"\nhttp = "http://other.example/"\n'
    with pytest.raises(ConfigError, match=r'm\.toml:7: a second http URL for the tree "docs"'):
        read_mirror_file(write(tmp_path, text), TREES)


def test_a_folder_gives_all_its_mirrors_and_nothing_else(tmp_path: Path) -> None:
    write(tmp_path, SMALL, "one.toml")
    write(tmp_path, SMALL.replace("m.example", "n.example"), "two.toml")
    write(tmp_path, "not TOML at all", "README.md")
    write(tmp_path, "not TOML at all", ".two.toml")
    assert set(read_mirror_files(tmp_path, TREES)) == {"m.example", "n.example"}


def test_one_name_in_two_files_names_both(tmp_path: Path) -> None:
    write(tmp_path, SMALL, "one.toml")
    write(tmp_path, SMALL, "two.toml")
    with pytest.raises(ConfigError, match=r"two\.toml:1: .*m\.example.*one\.toml"):
        read_mirror_files(tmp_path, TREES)


def test_the_faults_of_all_files_come_at_once(tmp_path: Path) -> None:
    write(tmp_path, "name = 1", "one.toml")
    write(tmp_path, "name = ", "two.toml")
    with pytest.raises(ConfigError, match="2 faults") as caught:
        read_mirror_files(tmp_path, TREES)
    assert "one.toml" in str(caught.value)
    assert "two.toml:1" in str(caught.value)


def test_a_folder_that_isnt_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such folder"):
        read_mirror_files(tmp_path / "nowhere", TREES)


def test_every_key_is_in_the_reference() -> None:
    page = REFERENCE.read_text()
    for key in MirrorFile.model_fields:
        assert f"`{key}`" in page or f"`[{key}]`" in page or f"`[[{key}]]`" in page, key


def test_the_example_of_the_reference_is_valid(tmp_path: Path) -> None:
    page = REFERENCE.read_text()
    example = page.split("```toml\n")[1].split("```")[0]
    declaration = read_mirror_file(write(tmp_path, example), TREES)
    assert declaration.mirror.name in example


networks = st.one_of(
    st.ip_addresses(v=4).map(lambda a: f"{a}/24"), st.ip_addresses(v=6).map(lambda a: f"{a}/48")
)
documents = st.fixed_dictionaries(
    {
        "name": st.from_regex(r"[a-z0-9][a-z0-9.-]{0,40}", fullmatch=True),
        "url": st.just([{"tree": "docs", "https": "https://m.example/x"}]),
    },
    optional={
        "sponsor": st.text(max_size=60).filter(str.isprintable),
        "enabled": st.booleans(),
        "kind": st.sampled_from(["mirror", "cdn"]),
        "country": st.from_regex(r"[A-Z]{2}", fullmatch=True),
        "asn": st.lists(st.integers(1, 2**32 - 1), max_size=5, unique=True),
        "networks": st.lists(networks, max_size=5),
        "private": st.booleans(),
        "bandwidth_mbps": st.integers(0, 10_000_000),
        "max_file_bytes": st.integers(0, 2**62),
    },
)


@given(document=documents)
@settings(deadline=None, max_examples=60)
def test_any_file_of_the_form_is_read_as_written(
    tmp_path_factory: pytest.TempPathFactory, document: dict[str, Any]
) -> None:
    path = write(tmp_path_factory.mktemp("mirrors"), tomlkit.dumps(document))
    mirror = read_mirror_file(path, TREES).mirror
    assert mirror.name == document["name"]
    assert mirror.sponsor == document.get("sponsor", "")
    assert mirror.enabled is document.get("enabled", True)
    assert mirror.asns == tuple(document.get("asn", ()))
    assert all(ipaddress.ip_network(network, strict=True) for network in mirror.networks)
    assert mirror.max_file_bytes == document.get("max_file_bytes", 0)


@given(text=st.text(max_size=300))
@settings(deadline=None, max_examples=100)
def test_any_text_is_read_or_refused_with_a_sentence(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    path = tmp_path_factory.mktemp("mirrors") / "m.toml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(ConfigError, match=r"m\.toml"):
        read_mirror_file(path, TREES)


@given(value=st.text(st.characters(max_codepoint=0x2FF), max_size=40))
@settings(max_examples=300)
def test_a_base_url_is_normal_or_refused(value: str) -> None:
    try:
        url = endpoint_url(f"https://{value}", "https")
    except ValueError:
        return
    assert url.startswith("https://")
    assert url.endswith("/")
    assert endpoint_url(url, "https") == url
    assert tomllib.loads(f"u = '''{url}'''") or "'" in url
