"""`heliostat demo`: the main job on one machine, from a tree to verified downloads.

Import only where the manager's extra is installed: the demo runs the manager, too.
"""

from __future__ import annotations

import asyncio
import contextlib
import shlex
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from urllib.parse import quote

import aiohttp
from rich.console import Console
from rich.table import Table

from heliostat.config.load import load_config
from heliostat.demo.download import Download, download, explain
from heliostat.demo.files import DemoTree, collect
from heliostat.demo.places import CLIENTS, MIRRORS, DemoClient, Health
from heliostat.demo.process import DemoError
from heliostat.demo.scarce import show_spends, spend
from heliostat.demo.stage import LIVENESS_S, TREE_NAME, Stage
from heliostat.model.catalog import CatalogTable

Say = Callable[[str], None]

READY_TIMEOUT_S: Final = 60


@dataclass(frozen=True, slots=True)
class Row:
    """One simulated client's download and the decision behind it."""

    client: DemoClient
    chosen: str
    cost_ms: float
    runner_up: str
    download: Download

    @property
    def is_right(self) -> bool:
        return self.chosen == self.client.nearest and self.download.verified


def run_demo(data_dir: Path, tree: Path | None, *, once: bool, console: Console) -> int:
    """Runs the demo; 0 when every client got the right bytes from the nearest good mirror.

    Raises:
        HeliostatError: a step failed; says which and what to do.
    """
    for number in (signal.SIGINT, signal.SIGTERM):  # also when started in the background
        signal.signal(number, signal.default_int_handler)
    data_dir = data_dir.absolute()
    data_dir.mkdir(parents=True, exist_ok=True)
    with console.status("preparing") as status:
        found = _tree(data_dir, tree, status.update)
        _step(console, "tree", f"{found.origin} in {found.root}")
        with Stage(data_dir, found.root) as stage:
            servers = stage.start_mirrors(status.update)
            _step(
                console, "mirrors", f"{len(MIRRORS)} and a CDN on 127.0.0.11 to .17, by {servers}"
            )
            stage.write_config()
            _setup_manager(stage)
            _prepare(stage, console, status.update)
            status.update("starting manager and edge")
            serve = stage.start_serve()
            rows = asyncio.run(_downloads(stage, status.update))
            status.stop()
            if not serve.running:
                raise DemoError(f"manager or edge ended at once; {serve.log_path} says why")
            _step(console, "edge", f"{stage.edge_url}")
            path = "/" + str(stage.newest())
            console.print(f"\n{path}", markup=False)
            console.print(_table(rows))
            wrong = [row for row in rows if not row.is_right]
            _conclude(console, rows, wrong)
            with console.status("spending the CDN's budget"):
                spends = asyncio.run(spend(stage))
            show_spends(console, stage, spends)
            if not all(one.is_right for one in spends):
                wrong = wrong or rows
            if once:
                return 1 if wrong else 0
            _invite(console, stage, path)
            _wait_for_interrupt()
    console.print("stopped; nothing is left running")
    return 1 if wrong else 0


def _tree(data_dir: Path, tree: Path | None, say: Say) -> DemoTree:
    if tree is None:
        return collect(data_dir / "tree", data_dir / "fetch", say)
    if not tree.is_dir():
        raise DemoError(f"{tree}: no such folder; name one with --tree, or leave it out")
    return DemoTree(tree, "your files")


def _setup_manager(stage: Stage) -> None:
    from heliostat.manager.setup import setup_django

    setup_django(load_config(stage.config, {}))


def _prepare(stage: Stage, console: Console, say: Say) -> None:
    """Scan the tree, apply the mirrors, probe them, publish: what `serve` then goes on doing."""
    from heliostat.manager.probing.runs import run_liveness
    from heliostat.manager.probing.scans import run_scans
    from heliostat.manager.publish import Publisher
    from heliostat.manager.registry.apply import apply_plan
    from heliostat.manager.registry.mirror_file import read_mirror_files
    from heliostat.manager.registry.mirrors import declarations
    from heliostat.manager.registry.plan import make_plan
    from heliostat.manager.trees import load_catalogs, scan_tree

    loaded = load_config(stage.config, {})
    tree = loaded.config.trees[0].to_tree()
    report = scan_tree(
        loaded,
        tree,
        lambda p: say(f"hashing {p.bytes_hashed / 1e6:.0f} of {p.bytes_to_hash / 1e6:.0f} MB"),
    )
    _step(
        console, "catalog", f"{report.files} files, {report.size_bytes / 1e6:.1f} MB, sha256 known"
    )
    wanted = read_mirror_files(stage.mirror_files, {TREE_NAME})
    apply_plan(make_plan(declarations(), wanted), force=True)
    say("probing the mirrors")
    catalogs = load_catalogs(loaded)

    async def probe() -> None:
        await run_scans(loaded, catalogs)
        await run_liveness(loaded, catalogs=catalogs)

    asyncio.run(probe())
    _step(console, "probe", _holdings(catalogs[TREE_NAME]))
    say("compiling the state (all of IPv4 and IPv6)")
    manifest = Publisher(loaded).publish(datetime.now(UTC), force=True).manifest
    size_mb = sum(file.size_bytes for file in manifest.files.values()) / 1e6
    _step(console, "state", f"{size_mb:.0f} MB, with the places of all of IPv4 and IPv6")


def _holdings(catalog: CatalogTable) -> str:
    from heliostat.manager.probing.records import holdings, statuses

    counts = {holding.mirror: len(holding.held) for holding in holdings(TREE_NAME)}
    words = []
    for name, status in statuses().items():
        if status.state.serves:
            words.append(f"{name} {counts.get(name, 0)}/{len(catalog)}")
        else:
            words.append(f"{name} {status.state}")
    return ", ".join(words)


async def _downloads(stage: Stage, say: Say) -> list[Row]:
    path = "/" + stage.newest().as_posix()
    hosts = {mirror.address: mirror.name for mirror in MIRRORS}
    rows = []
    async with aiohttp.ClientSession() as session:
        await _until_healthy(session, stage.edge_url)
        for client in CLIENTS:
            say(f"downloading as a client in {client.place}")
            decision = await explain(session, stage.edge_url, path, client.address)
            done = await download(session, stage.edge_url, path, client.address)
            chosen = hosts.get(done.host, done.host)
            eligible = [m for m in decision.considered if m.eligible]
            cost = next((m.cost_ms for m in eligible if m.mirror == chosen), float("nan"))
            others = [m for m in eligible if m.mirror != chosen]
            runner_up = f"{others[0].mirror} {others[0].cost_ms:.0f} ms" if others else "none"
            rows.append(Row(client, chosen, cost, runner_up, done))
    return rows


async def _until_healthy(session: aiohttp.ClientSession, edge: str) -> None:
    deadline = time.monotonic() + READY_TIMEOUT_S
    while True:
        with contextlib.suppress(aiohttp.ClientError):
            async with session.get(f"{edge}-/healthz") as answer:
                if answer.status == 200:
                    return
        if time.monotonic() > deadline:
            raise DemoError(f"the edge at {edge} was not healthy within {READY_TIMEOUT_S} s")
        await asyncio.sleep(0.1)


def _step(console: Console, name: str, text: str) -> None:
    console.print(f"[bold]{name:>8}[/bold]  {text}")


def _table(rows: list[Row]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in ("client in", "sent to"):
        table.add_column(name, no_wrap=True)
    table.add_column("cost", justify="right", no_wrap=True)
    for name in ("runner-up", "sha256"):
        table.add_column(name, no_wrap=True)
    table.add_column("time", justify="right", no_wrap=True)
    for row in rows:
        digest = row.download.sha256[:8]
        table.add_row(
            row.client.place,
            row.chosen if row.is_right else f"[red]{row.chosen}[/red]",
            f"{row.cost_ms:.0f} ms",
            row.runner_up,
            "verified" if row.download.verified else f"[red]{digest}… WRONG[/red]",
            f"{row.download.time_s * 1000:.0f} ms",
        )
    return table


def _conclude(console: Console, rows: list[Row], wrong: list[Row]) -> None:
    by_health = {health: {m.name for m in MIRRORS if m.health is health} for health in Health}
    stale = sum(row.chosen in by_health[Health.STALE] for row in rows)
    dead = sum(row.chosen in by_health[Health.DEAD] for row in rows)
    console.print(
        f"\n{len(rows) - len(wrong)} of {len(rows)} got the right bytes from the nearest good"
        f" mirror; {dead} were sent to the dead one,\n{stale} to the one that lacks this file"
    )


def _invite(console: Console, stage: Stage, path: str) -> None:
    edge, address = stage.edge_url.rstrip("/"), CLIENTS[0].address
    url = edge + quote(path)
    console.print("\n[bold]try it by hand[/bold] (Ctrl-C ends everything)")
    for line in (
        f"{edge}/",
        url,
        f"{url}?mirrorlist",
        f"{edge}/-/explain{quote(path)}?ip={address}",
        f"curl -sI -H 'X-Forwarded-For: {address}' {url}",
        f"curl -s -H 'X-Forwarded-For: {address}' {url}.meta4",
        f"heliostat --config {stage.config} mirror list",
        f"heliostat --config {stage.config} budget show",
        f"heliostat --config {stage.config} explain {shlex.quote(path)} --ip {address}",
    ):
        console.print(f"  {line}", markup=False, soft_wrap=True)
    pids = [server.pid for server in stage.servers[MIRRORS[0].name] if server.pid]
    console.print(
        f"  kill {' '.join(map(str, pids))}    # {MIRRORS[0].name} dies; look again"
        f" {LIVENESS_S + 3} s later",
        markup=False,
    )


def _wait_for_interrupt() -> None:
    """Until Ctrl-C or SIGTERM; a second one doesn't cut the tidying short."""
    with contextlib.suppress(KeyboardInterrupt):
        while True:
            signal.pause()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
