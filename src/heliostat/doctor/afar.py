"""The manager as this node reaches it, and this node as the manager sees it."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import Any, Final

import aiohttp

from heliostat import __version__
from heliostat.doctor.finding import Finding, bad, ok, skipped, warn
from heliostat.doctor.patient import Patient
from heliostat.failover import health

ASK_S: Final = 4.5
"""The manager looks for three seconds itself."""
MAX_ANSWER_BYTES: Final = 1 << 20
SIGHT: Final = "-/report/sight"
AWAY: Final = "downloads go on without it; runbook manager-gone"
TOLD: Final = (
    "[edge] report_token has to be what `heliostat node add` printed, its SHA-256 the manager's"
    " token_sha256"
)


async def manager(patient: Patient) -> list[Finding]:
    """It answers, knows this node's token, and tells what it sees."""
    topic, section = "manager", patient.config.edge
    if not section.report_url:
        return [skipped(topic, "this node reports to nobody")]
    url = f"{section.report_url}{SIGHT}"
    fields = {"Authorization": f"Bearer {section.report_token}"}
    try:
        tls = health.tls_of(section.report_ca)
        async with (
            asyncio.timeout(ASK_S),
            health.session() as session,
            session.get(url, headers=fields, ssl=tls) as answer,
        ):
            code = answer.status
            raw = await answer.content.read(MAX_ANSWER_BYTES)
    except TimeoutError:
        return [warn(topic, f"{url} doesn't answer within {ASK_S:g} s", AWAY)]
    except (aiohttp.ClientError, OSError) as error:
        return [warn(topic, f"{url}: {error}", AWAY)]
    if code == 401:
        return [bad(topic, "it doesn't know this node's token", TOLD)]
    if code == 404:
        todo = "the manager may be older than this node: upgrade it first"
        return [warn(topic, f"{url} answers 404", todo)]
    if code != 200:
        return [warn(topic, f"{url} answers {code}", "journalctl -u heliostat-manager, there")]
    try:
        said = json.loads(raw)
        return [ok(topic, "it answers, and knows this node's token"), *_seen(said, patient)]
    except (ValueError, TypeError, KeyError, AttributeError):
        todo = "is that the manager's report_listen?"
        return [warn(topic, f"{url} answers with something else", todo)]


def _seen(said: dict[str, Any], patient: Patient) -> list[Finding]:
    topic = "seen from the manager"
    found: list[Finding] = []
    looks: dict[str, str] = said["health"]
    well = [address for address, reason in looks.items() if not reason]
    if well:
        found.append(ok(topic, f"this node is healthy at {', '.join(well)}"))
    for address, reason in looks.items():
        if reason:
            answers = reason.startswith("answers")
            todo = "see the lines of this node" if answers else "ip route; nft list ruleset"
            found.append(bad(topic, f"{address}: {reason}", todo))
    own = patient.config.edge.node
    fresh = [node for node in said["nodes"] if node["is_fresh"]]
    if own not in {node["name"] for node in fresh}:
        todo = "journalctl -u heliostat-edge says why reports fail"
        found.append(warn(topic, "this node hasn't reported for half a minute", todo))
    programs = Counter(node["program"] for node in fresh)
    if set(programs) - {__version__}:
        versions = ", ".join(f"{count} with {name}" for name, count in programs.most_common())
        todo = "ansible-playbook upgrade.yml brings all to one"
        found.append(warn(topic, f"nodes run {versions}; {__version__} is installed here", todo))
    elif programs:
        found.append(ok(topic, f"all {len(fresh)} nodes that report run {__version__}"))
    return found
