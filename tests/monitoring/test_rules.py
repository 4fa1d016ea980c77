"""The alerts of the monitoring role: each fires when it should, is silent else, leads somewhere.

`CASES` has for every alert the series that make it fire, and the same in good health.
"""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
ROLE = ROOT / "deploy" / "ansible" / "roles" / "heliostat_monitoring"
RULES = ROLE / "files" / "heliostat.rules.yml"
METRICS = ROOT / "docs" / "reference" / "metrics.md"
EDGE = 'instance="fra"'
PREFIX = "heliostat_edge_"
NODE_METRICS = {
    "node_filesystem_avail_bytes",
    "node_filesystem_size_bytes",
    "node_timex_offset_seconds",
}
"""Of Debian's prometheus-node-exporter, the only ones that are used."""

Series = dict[str, str]
CASES: dict[str, tuple[Series, Series]] = {
    "HeliostatEdgeDown": (
        {'up{instance="fra",role="edge"}': "0x2000"},
        {'up{instance="fra",role="edge"}': "1x2000", f"{PREFIX}state_version{{{EDGE}}}": "7x2000"},
    ),
    "HeliostatAllEdgesDown": (
        {'up{instance="fra",role="edge"}': "1x2000"},
        {'up{instance="fra",role="edge"}': "1x2000", f"{PREFIX}state_version{{{EDGE}}}": "7x2000"},
    ),
    "HeliostatEdgeWithoutState": (
        {f"{PREFIX}state_version{{{EDGE}}}": "0x2000"},
        {f"{PREFIX}state_version{{{EDGE}}}": "7x2000"},
    ),
    "HeliostatStateOld": (
        {f"{PREFIX}state_age_seconds{{{EDGE}}}": "100000x2000"},
        {f"{PREFIX}state_age_seconds{{{EDGE}}}": "70000x2000"},
    ),
    "HeliostatStateVeryOld": (
        {f"{PREFIX}state_age_seconds{{{EDGE}}}": "700000x2000"},
        {f"{PREFIX}state_age_seconds{{{EDGE}}}": "500000x2000"},
    ),
    "HeliostatStateRefused": (
        {f'{PREFIX}state_refused_total{{{EDGE},fault="signature"}}': "0+1x2000"},
        {f'{PREFIX}state_refused_total{{{EDGE},fault="signature"}}': "3x2000"},
    ),
    "HeliostatNoSourceOfStates": (
        {f'{PREFIX}state_source_up{{{EDGE},source="a"}}': "0x2000"},
        {
            f'{PREFIX}state_source_up{{{EDGE},source="a"}}': "0x2000",
            f'{PREFIX}state_source_up{{{EDGE},source="b"}}': "1x2000",
        },
    ),
    "HeliostatManagerDown": (
        {'up{instance="manager",role="manager"}': "0x2000"},
        {'up{instance="manager",role="manager"}': "1x2000"},
    ),
    "HeliostatCertificateEnds": (
        {f"{PREFIX}certificate_end_timestamp_seconds{{{EDGE}}}": "900000x2000"},
        {f"{PREFIX}certificate_end_timestamp_seconds{{{EDGE}}}": "9000000x2000"},
    ),
    "HeliostatCertificateRefused": (
        {f"{PREFIX}certificate_refused{{{EDGE}}}": "1x2000"},
        {f"{PREFIX}certificate_refused{{{EDGE}}}": "0x2000"},
    ),
    "HeliostatMirrorsLacking": (
        {
            f'{PREFIX}redirects_total{{{EDGE},reason="share"}}': "0+70x2000",
            f'{PREFIX}redirects_total{{{EDGE},reason="fallback"}}': "0+30x2000",
        },
        {
            f'{PREFIX}redirects_total{{{EDGE},reason="share"}}': "0+90x2000",
            f'{PREFIX}redirects_total{{{EDGE},reason="origin"}}': "0+10x2000",
        },
    ),
    "HeliostatRequestsFail": (
        {
            f'{PREFIX}requests_total{{{EDGE},status="302"}}': "0+98x2000",
            f'{PREFIX}requests_total{{{EDGE},status="503"}}': "0+2x2000",
        },
        {
            f'{PREFIX}requests_total{{{EDGE},status="302"}}': "0+998x2000",
            f'{PREFIX}requests_total{{{EDGE},status="503"}}': "0+2x2000",
        },
    ),
    "HeliostatEdgeSuspectsItself": (
        {f"{PREFIX}watch_suspects_itself{{{EDGE}}}": "1x2000"},
        {f"{PREFIX}watch_suspects_itself{{{EDGE}}}": "0x2000"},
    ),
    "HeliostatProcessesRestart": (
        {f"{PREFIX}process_restarts_total{{{EDGE}}}": "0+5x2000"},
        {f"{PREFIX}process_restarts_total{{{EDGE}}}": "2x2000"},
    ),
    "HeliostatCountsLost": (
        {f'{PREFIX}counts_lost_total{{{EDGE},why="disk"}}': "0+5x2000"},
        {f'{PREFIX}counts_lost_total{{{EDGE},why="disk"}}': "5x2000"},
    ),
    "HeliostatDiskFull": (
        {
            'node_filesystem_avail_bytes{instance="fra",mountpoint="/"}': "5x2000",
            'node_filesystem_size_bytes{instance="fra",mountpoint="/"}': "100x2000",
        },
        {
            'node_filesystem_avail_bytes{instance="fra",mountpoint="/"}': "50x2000",
            'node_filesystem_size_bytes{instance="fra",mountpoint="/"}': "100x2000",
        },
    ),
    "HeliostatAllowanceUsedUp": (
        {
            f'{PREFIX}allowance_given_bytes{{{EDGE},mirror="cdn",part="general"}}': "100x2000",
            f'{PREFIX}allowance_taken_bytes{{{EDGE},mirror="cdn",part="general"}}': "100x2000",
        },
        {
            f'{PREFIX}allowance_given_bytes{{{EDGE},mirror="cdn",part="general"}}': "100x2000",
            f'{PREFIX}allowance_taken_bytes{{{EDGE},mirror="cdn",part="general"}}': "60x2000",
        },
    ),
    "HeliostatClientsComeBack": (
        {f'{PREFIX}repeats_unusual{{{EDGE},mirror="m"}}': "12x2000"},
        {f'{PREFIX}repeats_unusual{{{EDGE},mirror="m"}}': "0x2000"},
    ),
    "HeliostatClockOff": (
        {'node_timex_offset_seconds{instance="fra"}': "-2x2000"},
        {'node_timex_offset_seconds{instance="fra"}': "0.01x2000"},
    ),
    "HeliostatDrainedLong": (
        {f"{PREFIX}drained{{{EDGE}}}": "1x2000"},
        {f"{PREFIX}drained{{{EDGE}}}": "0x2000"},
    ),
}
AT = {"HeliostatDrainedLong": "26h"}
"""When an alert is looked for; others after three hours."""


def alerts() -> dict[str, dict[str, Any]]:
    (group,) = yaml.safe_load(RULES.read_text())["groups"]
    return {rule["alert"]: rule for rule in group["rules"]}


def fired(tmp_path: Path, cases: dict[str, Series]) -> set[str]:
    """The alerts that fire, each over its own series; promtool is told to expect none."""
    tests = [
        {
            "interval": "5m",
            "input_series": [{"series": key, "values": text} for key, text in series.items()],
            "alert_rule_test": [
                {"eval_time": AT.get(name, "3h"), "alertname": name, "exp_alerts": []}
            ],
        }
        for name, series in cases.items()
    ]
    file = tmp_path / "test.yml"  # JSON is YAML
    file.write_text(
        json.dumps({"rule_files": [str(RULES)], "evaluation_interval": "5m", "tests": tests})
    )
    done = subprocess.run(
        ["promtool", "test", "rules", file],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    said = done.stdout + done.stderr
    found = set(re.findall(r"alertname:\s*(\w+)", said))
    assert bool(found) == (done.returncode != 0), said
    return found


def test_every_alert_has_a_case_a_severity_and_a_runbook() -> None:
    assert alerts().keys() == CASES.keys()
    for name, alert in alerts().items():
        assert alert["labels"]["severity"] in ("info", "warning", "critical"), name
        assert (ROOT / alert["annotations"]["runbook"]).is_file(), name


def test_every_metric_that_is_asked_for_exists() -> None:
    known = set(re.findall(r"^\| `(heliostat_edge_\w+)` \|", METRICS.read_text(), re.MULTILINE))
    files = (RULES, *sorted((ROLE / "files" / "dashboards").glob("*.json")))
    for file in files:
        used = set(re.findall(r"\b(?:heliostat_edge|node)_\w+\b", file.read_text()))
        used = {re.sub(r"_(bucket|sum|count)$", "", name) for name in used}
        assert used <= known | NODE_METRICS, file.name


@pytest.mark.needs("prometheus")
def test_each_alert_fires_when_it_should(tmp_path: Path) -> None:
    assert fired(tmp_path, {name: bad for name, (bad, _) in CASES.items()}) == CASES.keys()


@pytest.mark.needs("prometheus")
def test_each_alert_is_silent_in_good_health(tmp_path: Path) -> None:
    assert fired(tmp_path, {name: good for name, (_, good) in CASES.items()}) == set()
