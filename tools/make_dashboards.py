"""Writes the Grafana dashboards of the monitoring role: fleet, edge, mirrors, budgets.

    .venv/bin/python tools/make_dashboards.py

Grafana's JSON is long and says little; what a panel is stands here in one line: title, unit, and
expressions with their legends. `tests/monitoring` fails when the files aren't what this writes.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[1]
FOLDER: Final = ROOT / "deploy/ansible/roles/heliostat_monitoring/files/dashboards"
SOURCE: Final = {"type": "prometheus", "uid": "heliostat"}
COLUMNS: Final = 24
HEIGHT: Final = 8
P: Final = "heliostat_edge_"
ONE: Final = '{instance=~"$edge"}'


@dataclass(frozen=True, slots=True)
class Panel:
    """`queries` are (expression, legend); `kind` is Grafana's name of the panel."""

    title: str
    unit: str
    queries: tuple[tuple[str, str], ...]
    kind: str = "timeseries"
    width: int = 12


FLEET: Final = (
    Panel("Redirects", "reqps", ((f"sum(rate({P}redirects_total[5m]))", "all"),), "stat", 6),
    Panel("Promised", "Bps", ((f"sum(rate({P}promised_bytes_total[5m]))", "all"),), "stat", 6),
    Panel("Edges with a state", "none", ((f"count({P}state_version > 0)", "edges"),), "stat", 6),
    Panel("Oldest state", "s", ((f"max({P}state_age_seconds)", "age"),), "stat", 6),
    Panel(
        "Redirects by edge",
        "reqps",
        ((f"sum by (instance) (rate({P}redirects_total[5m]))", "{{instance}}"),),
    ),
    Panel(
        "Redirects by reason",
        "reqps",
        ((f"sum by (reason) (rate({P}redirects_total[5m]))", "{{reason}}"),),
    ),
    Panel(
        "Answers by status",
        "reqps",
        ((f"sum by (status) (rate({P}requests_total[5m]))", "{{status}}"),),
    ),
    Panel("Age of the state", "s", ((f"{P}state_age_seconds", "{{instance}}"),)),
    Panel(
        "Downloads by tree",
        "reqps",
        ((f"sum by (tree) (rate({P}redirects_by_tree_total[5m]))", "{{tree}}"),),
    ),
    Panel(
        "Redirects by country, the largest ten",
        "reqps",
        ((f"topk(10, sum by (country) (rate({P}redirects_by_country_total[1h])))", "{{country}}"),),
    ),
)
EDGE: Final = (
    Panel("Connections", "none", ((f"{P}connections{ONE}", "{{instance}}"),)),
    Panel(
        "Decisions",
        "s",
        tuple(
            (
                f"histogram_quantile({share}, sum by (le) "
                f"(rate({P}decision_seconds_bucket{ONE}[5m])))",
                f"{share:.0%}",
            )
            for share in (0.5, 0.99)
        ),
    ),
    Panel(
        "Workers",
        "none",
        (
            (f"{P}workers_wanted{ONE}", "wanted {{instance}}"),
            (f"{P}workers_connected{ONE}", "there {{instance}}"),
        ),
    ),
    Panel("Restarts", "none", ((f"increase({P}process_restarts_total{ONE}[1h])", "{{instance}}"),)),
    Panel(
        "States refused",
        "none",
        ((f"increase({P}state_refused_total{ONE}[1h])", "{{fault}} {{instance}}"),),
    ),
    Panel("Sources of states", "none", ((f"{P}state_source_up{ONE}", "{{source}}"),)),
    Panel(
        "Days to the certificate's end",
        "none",
        ((f"({P}certificate_end_timestamp_seconds{ONE} - time()) / 86400", "{{instance}}"),),
    ),
    Panel("Spool", "bytes", ((f"{P}spool_bytes{ONE}", "{{instance}}"),)),
    Panel(
        "Memories: lookups answered",
        "percentunit",
        (
            (
                f"sum by (cache) (rate({P}cache_hits_total{ONE}[5m])) / (sum by (cache) "
                f"(rate({P}cache_hits_total{ONE}[5m])) + sum by (cache) "
                f"(rate({P}cache_misses_total{ONE}[5m])))",
                "{{cache}}",
            ),
        ),
    ),
    Panel(
        "Its own network suspected", "none", ((f"{P}watch_suspects_itself{ONE}", "{{instance}}"),)
    ),
)
MIRRORS: Final = (
    Panel(
        "Promised by mirror",
        "Bps",
        ((f"sum by (mirror) (rate({P}promised_bytes_total[5m]))", "{{mirror}}"),),
        width=24,
    ),
    Panel(
        "Redirects by mirror",
        "reqps",
        ((f"sum by (mirror) (rate({P}redirects_total[5m]))", "{{mirror}}"),),
    ),
    Panel(
        "Ways to mirrors that are out",
        "none",
        ((f"max by (mirror) ({P}watch_lines_down) > 0", "{{mirror}}"),),
    ),
    Panel(
        "Looks that found something wrong",
        "reqps",
        ((f"sum by (kind) (rate({P}watch_failures_total[5m]))", "{{kind}}"),),
    ),
    Panel(
        "Clients that came back",
        "reqps",
        ((f"topk(10, sum by (mirror) (rate({P}repeats_total[15m])))", "{{mirror}}"),),
    ),
)
BUDGETS: Final = (
    Panel(
        "Allowance that is left",
        "bytes",
        (
            (
                f"sum by (mirror, part) ({P}allowance_given_bytes - {P}allowance_taken_bytes)",
                "{{mirror}} {{part}}",
            ),
        ),
    ),
    Panel(
        "Taken",
        "Bps",
        ((f"sum by (mirror) (rate({P}allowance_taken_bytes[15m]))", "{{mirror}}"),),
    ),
    Panel("Lines that are full", "none", ((f"max by (mirror) ({P}line_full)", "{{mirror}}"),)),
    Panel(
        "Share of fallback and origin",
        "percentunit",
        (
            (
                f'sum(rate({P}redirects_total{{reason=~"fallback|origin"}}[15m])) '
                f"/ sum(rate({P}redirects_total[15m]))",
                "all",
            ),
        ),
    ),
)
DASHBOARDS: Final = {"fleet": FLEET, "edge": EDGE, "mirrors": MIRRORS, "budgets": BUDGETS}


def dashboard(name: str, panels: tuple[Panel, ...]) -> dict[str, Any]:
    made: list[dict[str, Any]] = []
    x = y = 0
    for number, panel in enumerate(panels, 1):
        if x + panel.width > COLUMNS:
            x, y = 0, y + HEIGHT
        made.append(
            {
                "id": number,
                "type": panel.kind,
                "title": panel.title,
                "datasource": SOURCE,
                "gridPos": {"x": x, "y": y, "w": panel.width, "h": HEIGHT},
                "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
                "targets": [
                    {"refId": chr(65 + at), "expr": text, "legendFormat": legend}
                    for at, (text, legend) in enumerate(panel.queries)
                ],
            }
        )
        x += panel.width
    chooser = {
        "name": "edge",
        "type": "query",
        "datasource": SOURCE,
        "query": f"label_values({P}state_version, instance)",
        "includeAll": True,
        "multi": True,
        "current": {"text": "All", "value": "$__all"},
        "refresh": 2,
    }
    return {
        "uid": f"heliostat-{name}",
        "title": f"Heliostat: {name}",
        "tags": ["heliostat"],
        "timezone": "utc",
        "refresh": "1m",
        "schemaVersion": 39,
        "time": {"from": "now-24h", "to": "now"},
        "templating": {"list": [chooser] if name == "edge" else []},
        "panels": made,
    }


def files() -> dict[str, str]:
    """Name → text of each file."""
    return {
        f"{name}.json": json.dumps(dashboard(name, panels), indent=1) + "\n"
        for name, panels in DASHBOARDS.items()
    }


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, text in files().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
        print(FOLDER.relative_to(ROOT) / name)


if __name__ == "__main__":
    main()
