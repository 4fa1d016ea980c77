"""docs/reference/settings.md says of every setting what config/schema.py says, and of no other."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from heliostat.config.dns import DnsSection
from heliostat.config.nodes import NodeSection
from heliostat.config.schema import (
    Config,
    EdgeSection,
    GeoSection,
    ManagerSection,
    ProbeSection,
)
from heliostat.config.tree import (
    AliasSection,
    MovedSection,
    RemovedSection,
    RepositorySection,
    TreeSection,
)

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "settings.md"
SECTIONS: dict[str, type[BaseModel]] = {
    "Top of the file": Config,
    "`[manager]`": ManagerSection,
    "`[probe]`": ProbeSection,
    "`[edge]`": EdgeSection,
    "`[[tree]]`": TreeSection,
    "`[[tree.repository]]`": RepositorySection,
    "`[[tree.alias]]`": AliasSection,
    "`[[tree.moved]]`": MovedSection,
    "`[[tree.removed]]`": RemovedSection,
    "`[[geo]]`": GeoSection,
    "`[[node]]`": NodeSection,
    "`[dns]`": DnsSection,
}
ROW = re.compile(r"^\| `(?P<key>\w+)` \|[^|]*\| (?P<default>[^|]*) \|", re.MULTILINE)


def documented(heading: str) -> dict[str, str]:
    """Key → default, as the page's table under `heading` has them."""
    page = PAGE.read_text(encoding="utf-8")
    _, _, rest = page.partition(f"\n## {heading}\n")
    assert rest, f"{PAGE} has no heading {heading}"
    return {row["key"]: row["default"] for row in ROW.finditer(rest.partition("\n## ")[0])}


def settings_of(model: type[BaseModel]) -> dict[str, str]:
    """Key → default, as the schema has them; sections are tables of their own."""
    found: dict[str, str] = {}
    for name, field in model.model_fields.items():
        if model is Config and name != "data_dir":
            continue
        default = field.default
        if default is PydanticUndefined:
            found[field.alias or name] = "required"
        elif default is None:
            found[field.alias or name] = "none"
        else:
            shown = str(default) if isinstance(default, Path) else default
            found[field.alias or name] = f"`{json.dumps(shown)}`"
    return found


@pytest.mark.parametrize("heading", SECTIONS)
def test_the_page_has_every_setting_with_its_default(heading: str) -> None:
    assert documented(heading) == settings_of(SECTIONS[heading])


def test_every_section_of_the_schema_has_a_heading() -> None:
    sections = {field.alias or name for name, field in Config.model_fields.items()} - {"data_dir"}
    sections |= {f"tree.{name}" for name in ("repository", "alias", "moved", "removed")}
    assert {heading.strip("`[]") for heading in SECTIONS} - {"Top of the file"} == sections
