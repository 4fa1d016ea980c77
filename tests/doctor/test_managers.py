"""The doctor on a manager, and what a node hears from its manager of how it is seen."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import BaseTestServer, TestServer
from asgiref.sync import sync_to_async

from heliostat.config.load import LoadedConfig, load_config
from heliostat.doctor import afar
from heliostat.doctor.finding import Finding, Verdict
from heliostat.doctor.patient import Patient
from heliostat.failover.health import HEALTH_TEXT
from heliostat.manager.setup import setup_django
from tests.doctor.support import doctor, verdicts
from tests.support.command import Workplace

OK, WARN, BAD = Verdict.OK, Verdict.WARN, Verdict.BAD
TOKEN = "token-of-fra"


@pytest.fixture
def workplace(tmp_path: Path) -> Workplace:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/a.iso").write_bytes(b"content")
    place = Workplace(tmp_path)
    digest = hashlib.sha256(TOKEN.encode()).hexdigest()
    place.config.write_text(
        'data_dir = "data"\n[[tree]]\nname = "t"\nroot = "tree"\n'
        f'[[node]]\nname = "fra"\nipv4 = ["127.0.0.1"]\ntoken_sha256 = "{digest}"\n'
    )
    return place


def test_a_manager_is_looked_at_without_being_touched(workplace: Workplace) -> None:
    before = workplace.files()
    found = doctor(workplace.config)
    assert workplace.files() == before
    assert verdicts(found["keys"]) == [WARN]
    assert verdicts(found["database"]) == [WARN]
    assert verdicts(found["published state"]) == [BAD]
    assert "edge" not in found


@pytest.mark.slow
def test_a_manager_that_publishes_is_well_until_its_keys_are_not(workplace: Workplace) -> None:
    workplace.done("tree", "scan")
    made = workplace.run("keys", "init", "--root-key", "root.pem", environ=PASSPHRASE)
    assert made.code == 0, made.err
    workplace.done("state", "publish")
    found = doctor(workplace.config)
    assert verdicts(found["keys"]) == [OK]
    assert verdicts(found["database"]) == [OK]
    assert verdicts(found["lease"]) == [OK]
    assert verdicts(found["published state"]) == [OK]
    (node,) = found["reports of fra"]
    assert (node.verdict, node.text) == (WARN, "never reported")

    (workplace.data / "keys/online-1/timestamp.pem").write_text("no key")
    (workplace.data / "manager-id").write_text("somebody else")
    found = doctor(workplace.config)
    assert (verdicts(found["keys"]), verdicts(found["lease"])) == ([BAD], [WARN])
    assert "another manager publishes" in found["lease"][0].text


PASSPHRASE = {"HELIOSTAT_ROOT_PASSPHRASE": "correct horse"}


async def asked(place: Workplace, token: str, *, health: int) -> list[Finding]:
    """A node's look at a real report server, whose manager looks at the node at once."""

    async def healthz(request: web.Request) -> web.Response:
        return web.Response(status=health, body=HEALTH_TEXT)

    node = web.Application()
    node.router.add_get("/-/healthz", healthz)
    async with TestServer(node) as edge:
        config = place.config.read_text()
        place.config.write_text(f'{config}[edge]\npublic_url = "http://x.example:{edge.port}/"\n')
        loaded = load_config(place.config, {})
        await sync_to_async(setup_django)(loaded)
        from heliostat.manager.reports.server import report_app  # tables: Django is up by now
        from heliostat.manager.reports.sight import Sight

        tokens = {one.name: one.token_sha256 for one in loaded.config.nodes}
        async with TestServer(report_app(tokens, sight=Sight(loaded))) as manager:
            return await afar.manager(Patient(_node_config(place, manager, token)))


def _node_config(place: Workplace, manager: BaseTestServer, token: str) -> LoadedConfig:
    path = place.folder / "node.toml"
    path.write_text(
        f'[edge]\nnode = "fra"\nreport_url = "http://127.0.0.1:{manager.port}/"\n'
        f'report_token = {json.dumps(token)}\n[[node]]\nname = "fra"\nipv4 = ["127.0.0.1"]\n'
    )
    return load_config(path, {})


async def test_a_node_hears_how_the_manager_sees_it(workplace: Workplace) -> None:
    answers, seen, silent = await asked(workplace, TOKEN, health=200)
    assert (answers.verdict, seen.verdict) == (OK, OK)
    assert seen.text == "this node is healthy at 127.0.0.1"
    assert (silent.verdict, "hasn't reported" in silent.text) == (WARN, True)


async def test_a_node_that_the_manager_cannot_reach_hears_why(workplace: Workplace) -> None:
    _, seen, _ = await asked(workplace, TOKEN, health=503)
    assert (seen.topic, seen.verdict) == ("seen from the manager", BAD)
    assert seen.text.startswith("127.0.0.1: answers 503")


async def test_a_token_that_the_manager_does_not_know_is_bad(workplace: Workplace) -> None:
    (found,) = await asked(workplace, "another", health=200)
    assert (found.verdict, "doesn't know this node's token" in found.text) == (BAD, True)
