"""The page of the doctor names every check, and every key of the answers stands in its page."""

from __future__ import annotations

import re
from pathlib import Path

from heliostat.doctor.run import CHECKS
from heliostat.infra.answers import Answers, DnsAnswers, ServerAnswers, TlsAnswers

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"


def test_every_check_stands_in_the_table() -> None:
    rows = re.findall(r"^\| (.+?) \|", (REFERENCE / "doctor.md").read_text(), re.MULTILINE)
    topics = {topic for row in rows for topic in re.findall(r"`(.+?)`", row)}
    for check in CHECKS:
        assert check.name == "nodes" or check.name in topics, check.name


def test_every_key_of_the_answers_is_documented() -> None:
    text = (REFERENCE / "infra.md").read_text()
    for field in Answers.model_fields.keys() - {"dns", "tls", "servers", "trees", "mirrors"}:
        assert f"| `{field}` |" in text
    for section, model in (("dns", DnsAnswers), ("tls", TlsAnswers)):
        for key in model.model_fields:
            assert f"| `[{section}] {key}` |" in text
    servers = next(line for line in text.splitlines() if line.startswith("| `[[server]]`"))
    for key in ServerAnswers.model_fields:
        assert f"`{key}`" in servers
