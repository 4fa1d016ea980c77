"""What pages tell to type beside `heliostat`: make targets, playbooks, and links from elsewhere."""

from __future__ import annotations

import re

from tests.docs.lines import ROOT, pages

EXAMPLE = ROOT / "deploy" / "example-infra"


def named(pattern: str) -> dict[str, set[str]]:
    """What the pattern's group finds → the pages it stands in."""
    found: dict[str, set[str]] = {}
    for page in pages():
        for name in re.findall(pattern, page.read_text(encoding="utf-8"), re.MULTILINE):
            found.setdefault(name, set()).add(page.name)
    return found


def test_every_make_target_exists() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    asked = named(r"(?:^ {4}|`|\$ )make ([a-z]+)\b")
    assert len(asked) > 8
    assert {name: where for name, where in asked.items() if name not in targets} == {}


def test_every_playbook_is_in_the_example_repository() -> None:
    asked = named(r"\bansible-playbook ([\w.-]+\.yml)\b")
    assert {"site.yml", "upgrade.yml", "restore.yml"} <= asked.keys()
    assert {name: at for name, at in asked.items() if not (EXAMPLE / name).exists()} == {}


def test_every_command_of_heliostat_versions_exists() -> None:
    script = (ROOT / "deploy" / "versions" / "heliostat-versions").read_text(encoding="utf-8")
    asked = named(r"heliostat-versions ([a-z]+)")
    assert {"rollback", "prune"} <= asked.keys()
    assert [name for name in asked if f'"{name}"' not in script] == []


def test_every_alert_leads_to_a_runbook() -> None:
    rules = [
        file
        for kind in ("*.yml", "*.j2", "*.rules")
        for file in (ROOT / "deploy" / "ansible" / "roles").glob(f"heliostat_monitoring/**/{kind}")
    ]
    linked = {
        name
        for file in rules
        for name in re.findall(r"runbooks/([\w-]+)", file.read_text(encoding="utf-8"))
    }
    known = {page.stem for page in (ROOT / "docs" / "runbooks").glob("*.md")}
    assert linked <= known
