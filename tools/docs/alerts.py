"""The table of alerts in docs/reference/monitoring.md, from the rules that Prometheus is given."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import yaml

ROLE: Final = Path(__file__).resolve().parents[2] / "deploy/ansible/roles/heliostat_monitoring"
RULES: Final = ROLE / "files" / "heliostat.rules.yml"
HEAD: Final = "| alert | when | for | severity | then |"


def with_table(page: str) -> str:
    """The page with its table of alerts as the rules have them."""
    before, head, rest = page.partition(HEAD)
    if not head:
        raise ValueError(f"the page has no table that begins with {HEAD}")
    after = rest.partition("\n\n")[2]
    lines = [HEAD, "| --- | --- | --- | --- | --- |", *map(_row, alerts())]
    return before + "\n".join(lines) + "\n\n" + after


def alerts() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    return list(group["rules"])


def _row(alert: dict[str, Any]) -> str:
    page = Path(alert["annotations"]["runbook"]).name
    when = " ".join(alert["expr"].split()).replace("|", "\\|")
    runbook = f"[{page.removesuffix('.md')}](../runbooks/{page})"
    name, wait, severity = alert["alert"], alert.get("for", ""), alert["labels"]["severity"]
    return f"| {name} | `{when}` | {wait} | {severity} | {runbook} |"
