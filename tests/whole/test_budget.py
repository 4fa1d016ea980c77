"""`heliostat serve` with a CDN of a tiny budget: spent in the right order, and never exceeded."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from heliostat.demo.process import free_port
from heliostat.demo.servers import NginxServer
from tests.whole.test_serve import Serve, Site, until

pytestmark = [pytest.mark.needs("nginx"), pytest.mark.timeout(300)]

MB = 1_000_000
BUDGET_BYTES = 50 * MB
STOP_BYTES = int(BUDGET_BYTES * 0.98)
NEW = 10
"""Files that only the CDN has."""
LEAST_LEFT_BYTES = 8 * MB
"""A grant is half of what is left, and at least 1 MB: of two parts, in two purses."""
AMERICAN = "18.9.22.69"
_agents = itertools.count()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A mirror in Germany that lacks the newest files, and a CDN that has everything."""
    tree = tmp_path / "tree"
    tree.mkdir()
    for name in (*(f"f{number}" for number in range(5)), *(f"new{n}" for n in range(NEW))):
        (tree / f"{name}.iso").write_bytes(os.urandom(1000) * 1000)
    serve = Serve(tmp_path)
    serve.config_text = f"""data_dir = "data"
[probe]
allow_private = true
liveness_s = 2
scan_s = 3
[manager]
tree_scan_s = 1
[edge]
listen = ["127.0.0.1:{serve.port}"]
admin_listen = "127.0.0.1:{serve.admin_port}"
trusted_proxies = ["127.0.0.0/8"]
workers = 2
[[tree]]
name = "images"
root = "tree"
fallback = ["http://fallback.example/images/"]
"""
    serve.write_files()
    declared = tmp_path / "mirrors.d"
    declared.mkdir()
    servers = []
    site = Site(tmp_path, tree, serve)
    try:
        for name, address, more in (
            ("near", "127.0.0.41", 'country = "DE"\nlatitude = 49.6\nlongitude = 11.0\n'),
            ("cdn", "127.0.0.42", 'kind = "cdn"\n'),
        ):
            root = tmp_path / "mirrors" / name
            lacking = "new*" if name == "near" else ""
            shutil.copytree(tree, root, ignore=shutil.ignore_patterns(lacking))
            http = NginxServer(root, address, free_port(address), tmp_path / f"{name}-http").start()
            servers.append(http)
            budget = f"[budget]\nbytes_per_month = {BUDGET_BYTES}\nreserve_share = 0.1\n"
            (declared / f"{name}.toml").write_text(
                f'name = "{name}"\n{more}{budget if name == "cdn" else ""}'
                f'[[url]]\ntree = "images"\nhttp = "{http.url}"\n'
            )
        site.heliostat("mirrors", "apply", str(declared), "--doit")
        with serve:
            yield site
    finally:
        for server in servers:
            server.stop()


def host(site: Site, path: str) -> str:
    fields = {"X_Forwarded_For": AMERICAN, "User_Agent": f"t/{next(_agents)}"}
    reply = site.serve.get(f"/{path}", **fields)
    if reply.status != 302:
        return str(reply.status)
    address = reply["location"].split("/")[2].partition(":")[0]
    return {"127.0.0.41": "near", "127.0.0.42": "cdn"}.get(address, address)


def test_a_tiny_budget_runs_out_in_the_right_order(site: Site) -> None:
    """The forecast, which knows nothing yet, prices the CDN out where there is a mirror."""
    new = itertools.cycle(f"new{number}.iso" for number in range(NEW))
    until(lambda: host(site, "new0.iso") == "cdn", 90)
    hosts = Counter({"cdn": 1})

    def is_used_up() -> bool:
        """Whether nothing came of two reports, and what they brought."""
        before = hosts["cdn"]
        ends_s = time.monotonic() + 8
        while time.monotonic() < ends_s:
            hosts.update([host(site, next(new))])
            time.sleep(0.01)
        return hosts["cdn"] == before

    until(is_used_up, 150)
    assert set(hosts) == {"cdn", "fallback.example"}, "each request was served"
    assert hosts["cdn"] * MB <= STOP_BYTES
    assert hosts["cdn"] * MB >= STOP_BYTES - LEAST_LEFT_BYTES
    assert {host(site, f"f{number}.iso") for number in range(5)} == {"near"}

    (shown,) = json.loads(site.heliostat("--json", "budget", "show"))
    assert shown["own_bytes"] <= STOP_BYTES
