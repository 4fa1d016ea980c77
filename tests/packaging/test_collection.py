"""The collection's own code, and what every role of it must have."""

from __future__ import annotations

import importlib.util
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

COLLECTION = Path(__file__).parents[2] / "deploy/ansible"
ROLES = sorted(path.name for path in (COLLECTION / "roles").iterdir())


def plugin(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, COLLECTION / f"plugins/filter/{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


keys = st.text(min_size=1, max_size=12)
scalars = st.one_of(
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(),
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=4),
        st.dictionaries(keys, inner, min_size=1, max_size=4),
    ),
    max_leaves=12,
)


@given(st.dictionaries(keys, values, max_size=5))
def test_what_is_written_as_toml_reads_back(table: dict[str, Any]) -> None:
    assert tomllib.loads(plugin("toml").to_toml(table)) == table


@pytest.mark.parametrize("value", [object(), {"a": object()}, [None]])
def test_what_toml_can_not_say_names_the_key(value: object) -> None:
    with pytest.raises(ValueError, match=r"some\.key"):
        plugin("toml").to_toml({"some": {"key": value}})


def test_lists_of_addresses_are_never_taken_from_ciphertext(tmp_path: Path) -> None:
    path = tmp_path / "mirrors.txt"
    path.write_bytes(b"\0GITCRYPT\0" + bytes(range(256)))
    with pytest.raises(ValueError, match="still encrypted"):
        plugin("files").text_of_file(path)
    path.write_text("192.0.2.0/24\n")
    assert plugin("files").text_of_file(path) == "192.0.2.0/24\n"


def test_nodes_are_the_edges_with_the_digests_of_their_tokens() -> None:
    hostvars = {"fra": {"heliostat_ipv4": ["192.0.2.10"]}, "nyc": {}}
    (node,) = plugin("inventory").nodes(["fra"], hostvars, {"fra": "secret"})
    assert node["ipv4"] == ["192.0.2.10"]
    assert node["token_sha256"].startswith("2bb80d537b1da3e3")
    with pytest.raises(ValueError, match="nyc has no address"):
        plugin("inventory").nodes(["nyc"], hostvars, {})


@pytest.mark.parametrize("role", ROLES)
def test_every_setting_of_a_role_is_described(role: str) -> None:
    folder = COLLECTION / "roles" / role
    specs = yaml.safe_load((folder / "meta/argument_specs.yml").read_text())["argument_specs"]
    assert specs["main"]["short_description"]
    described = {name for spec in specs.values() for name in spec.get("options", {})}
    defaults = folder / "defaults/main.yml"
    given_names = set(yaml.safe_load(defaults.read_text()) or {}) if defaults.exists() else set()
    shared = set(shared_settings())
    assert given_names - described - shared == set()


def shared_settings() -> set[str]:
    """Described where they belong: the roles that all others build on."""
    found: set[str] = set()
    for role in ("heliostat_config", "heliostat_private"):
        text = (COLLECTION / "roles" / role / "meta/argument_specs.yml").read_text()
        found |= set(yaml.safe_load(text)["argument_specs"]["main"]["options"])
    return found | {"heliostat_node_tokens", "heliostat_settings", "heliostat_dns"}
