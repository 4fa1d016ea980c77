"""`heliostat node` as a person uses it, before any node has reported."""

from __future__ import annotations

import hashlib
import json
import tomllib
from pathlib import Path

import pytest

from tests.support.command import Workplace


@pytest.fixture
def place(tmp_path: Path) -> Workplace:
    return Workplace(tmp_path)


def added(place: Workplace, name: str, *addresses: str) -> str:
    """Its token."""
    options = [part for one in addresses for part in ("--address", one)]
    found = json.loads(place.done("node", "add", name, *options, "--provider", "P", "--json"))
    return str(found["token"])


def test_a_node_is_written_with_the_digest_of_a_token_that_is_shown_once(place: Workplace) -> None:
    place.config.write_text("# mine\n[edge]  # stays\n")
    token = added(place, "fra", "192.0.2.10", "2001:db8::10")
    text = place.config.read_text()
    assert "# mine\n[edge]  # stays\n" in text
    assert token not in text
    assert tomllib.loads(text)["node"] == [
        {
            "name": "fra",
            "provider": "P",
            "ipv4": ["192.0.2.10"],
            "ipv6": ["2001:db8::10"],
            "token_sha256": hashlib.sha256(token.encode()).hexdigest(),
        }
    ]
    assert added(place, "nyc", "192.0.2.11") != token


def test_what_is_no_node_leaves_the_file_as_it_is(place: Workplace) -> None:
    added(place, "fra", "192.0.2.10")
    place.fails("node", "add", "fra", "--address", "192.0.2.9", says=("already", "heliostat.toml:"))
    place.fails("node", "add", "nyc", "--address", "192.0.2.10", says=("192.0.2.10",))
    place.fails("node", "add", "nyc", "--address", "example.org", says=("is no address",))


def test_list_and_show_say_who_never_reported(place: Workplace) -> None:
    added(place, "fra", "192.0.2.10")
    out = place.done("node", "list")
    assert out.splitlines()[1].split() == ["fra", "P", "unknown", "never"]
    assert out.splitlines()[2] == "! fra: never reported"
    (one,) = json.loads(place.done("node", "list", "--json"))
    assert one == json.loads(place.done("node", "show", "fra", "--json"))
    assert (one["name"], one["condition"], one["warnings"]) == ("fra", None, ["never reported"])
    place.fails("node", "show", "fro", says=('did you mean "fra"?',))


def test_nodes_are_removed_but_for_the_last(place: Workplace) -> None:
    added(place, "fra", "192.0.2.10")
    added(place, "nyc", "192.0.2.11")
    ended = place.run("node", "remove", "nyc")
    assert ended.code == 0
    assert "[[node]]" in ended.err
    place.fails("node", "remove", "fra", says=("last node", "--force"), code=3)
    assert place.run("node", "remove", "fra", "--force").code == 0
    assert "node" not in tomllib.loads(place.config.read_text())


def test_draining_without_a_manager_or_an_edge_here_says_where_to_go(place: Workplace) -> None:
    added(place, "fra", "192.0.2.10")
    place.fails("node", "drain", "fra", says=("no manager", "on the manager"))


def test_a_node_that_nobody_vouches_for_is_not_drained(place: Workplace) -> None:
    added(place, "fra", "192.0.2.10")
    added(place, "nyc", "192.0.2.11")
    place.done("node", "list")  # makes the registry: this is the manager
    place.fails("node", "drain", "fra", says=("last node that serves",), code=3)
