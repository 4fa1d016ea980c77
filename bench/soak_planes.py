"""kill -9 of edge, manager and publisher, at random moments: is a state damaged, is a count lost?

    python bench/soak_planes.py [--kills N] [--seed N]

A manager with a tree and a mirror, `heliostat state publish` again and again, an edge of two
workers fed over HTTP that reports to the manager, and people at a steady pace; all on
loopback. After each kill what died is started again, and has to serve; the published state, the
copy beside it and the edge's own are verified byte by byte. At the end the manager must have
counted each answered download, but for those of the last second before a process of the edge was
killed. Ends with code 1 when anything else is seen.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import random
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from heliostat.demo.process import free_port
from heliostat.model.errors import HeliostatError
from heliostat.state.opened import open_state
from heliostat.state.store import HELD_FOLDER, PUBLISHED_FOLDER, StateStore
from heliostat.state.trust import verified_manifest
from soak import Service
from tests.edge.processes.helpers import is_alive, role, serves, until
from tests.support.command import Workplace
from tests.support.edge import EdgeProcess
from tests.support.packages import program_path
from tests.support.processes import processes_with

NODE, TOKEN = "fra", "a token for tests"
WORKERS = 2
START_S = 30.0
PACE_S = 0.02
"""Between two downloads."""
LAST_S = 1.0
"""What is answered this long before a process of the edge is killed needn't be counted."""
PAUSE_S = (0.05, 1.5)
TRIES = 5
REPORTED_S = 180.0
"""Within this the spool has to be empty, once all is at rest."""

NGINX = """\
user root; daemon off; worker_processes 1; pid {home}/nginx.pid; error_log {home}/error.log;
events {{ worker_connections 256; }}
http {{
  access_log off; client_body_temp_path {home}/t1; proxy_temp_path {home}/t2;
  fastcgi_temp_path {home}/t3; uwsgi_temp_path {home}/t4; scgi_temp_path {home}/t5;
  server {{
    listen 127.0.0.1:{port};
    location /iso/ {{ alias {home}/mirror/; autoindex on; }}
    location /state/ {{ alias {home}/manager/data/{published}/; }}
  }}
}}
"""


class People(threading.Thread):
    """Ask for a file at a steady pace; when each was answered."""

    def __init__(self, edge: EdgeProcess) -> None:
        super().__init__(daemon=True)
        self._edge = edge
        self.answered: list[float] = []
        self.unclear = 0
        """Asked, and not answered to the end: they may have been counted."""
        self.others: Counter[int] = Counter()
        self.stopped = threading.Event()

    def run(self) -> None:
        while not self.stopped.wait(PACE_S):
            try:
                answer = self._edge.get("/iso/0.iso")
            except ConnectionRefusedError:
                continue
            except (OSError, ValueError, IndexError):
                self.unclear += 1
                continue
            if answer.status == 302:
                self.answered.append(time.monotonic())
            else:
                self.others[answer.status] += 1


class Planes:
    """Manager, publisher, mirror and edge in one folder."""

    def __init__(self, folder: Path, rng: random.Random) -> None:
        self.folder, self.rng = folder, rng
        self.web_port, self.report_port = free_port(), free_port()
        self.manager = Workplace(folder / "manager")
        self.copy = folder / "copy"
        (folder / "edge").mkdir()
        self.manager.folder.mkdir()
        (folder / "mirror").mkdir()
        (folder / "tree").mkdir()
        self.edge = EdgeProcess(
            folder / "edge",
            workers=WORKERS,
            node=NODE,
            sources=[f"http://127.0.0.1:{self.web_port}/state/"],
            source_poll_s=0.2,
            root=str(self.manager.data / "keys" / "1.root.json"),
            report_url=f"http://127.0.0.1:{self.report_port}/",
            report_token=TOKEN,
        )
        self.service = Service(self.edge)
        self.web: subprocess.Popen[bytes] | None = None
        self.running: subprocess.Popen[bytes] | None = None
        self.files = 0

    def start(self) -> None:
        nginx = program_path("nginx")
        assert nginx, "needs nginx: apt-get install nginx"
        conf = self.folder / "nginx.conf"
        conf.write_text(
            NGINX.format(home=self.folder, port=self.web_port, published=PUBLISHED_FOLDER)
        )
        self.web = self._spawn([nginx, "-e", str(self.folder / "error.log"), "-c", str(conf)])
        self.manager.config.write_text(
            f'[manager]\nreport_listen = "127.0.0.1:{self.report_port}"\ntree_scan_s = 1\n'
            f'publish_to = ["{self.copy}"]\n'
            "[probe]\nallow_private = true\nliveness_s = 2\nscan_s = 3600\n"
            f'[[tree]]\nname = "iso"\nroot = "{self.folder}/tree"\nprefix = "/iso/"\n'
            f'[[node]]\nname = "{NODE}"\nipv4 = ["192.0.2.10"]\n'
            f'token_sha256 = "{hashlib.sha256(TOKEN.encode()).hexdigest()}"\n'
        )
        mirror = self.manager.folder / "mirror.toml"
        mirror.write_text(
            'name = "m"\ncountry = "DE"\nlatitude = 50.0\nlongitude = 8.0\n[[url]]\ntree = "iso"\n'
            f'http = "http://127.0.0.1:{self.web_port}/iso/"\n'
        )
        self.release()
        self.manager.done("mirrors", "apply", str(mirror), "--doit")
        self.manager.done("tree", "scan")
        self.start_manager()
        until(lambda: self._published_files() > 0, START_S)
        self.edge.write_files()
        self.service.tend()
        until(lambda: serves(self.edge, WORKERS), START_S)
        until(lambda: self.edge.get("/iso/0.iso").status == 302, START_S)

    def _published_files(self) -> int:
        with contextlib.suppress(HeliostatError):
            return StateStore(self.manager.data / PUBLISHED_FOLDER).manifest().counts["files"]
        return 0

    def _spawn(self, command: list[str]) -> subprocess.Popen[bytes]:
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *command],
                cwd=self.manager.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def release(self) -> None:
        """A new file, so that there is something to publish."""
        for place in ("mirror", "tree"):
            path = self.folder / place / f"{self.files}.iso"
            path.write_bytes(str(self.files).encode() * 1000)
            os.utime(path, (1_700_000_000, 1_700_000_000))
        self.files += 1

    def start_manager(self) -> None:
        self.running = self._spawn(self.manager.command("manager"))

    # killing

    def kill_manager(self) -> None:
        assert self.running
        os.killpg(self.running.pid, signal.SIGKILL)
        self.running.wait()
        self.start_manager()

    def kill_publisher(self) -> None:
        """The tree has grown; `state publish` is killed while it publishes that, or tries to."""
        self.release()
        self.manager.run("tree", "scan")
        publisher = self._spawn(self.manager.command("state", "publish"))
        with contextlib.suppress(subprocess.TimeoutExpired):
            publisher.wait(self.rng.uniform(0.3, 2.0))
        with contextlib.suppress(ProcessLookupError):
            os.killpg(publisher.pid, signal.SIGKILL)
        publisher.wait()

    def kill_edge(self) -> str:
        """One process of it, or all at once; which."""
        found = self.service.processes()
        whole = self.rng.random() < 0.3
        victims = found if whole else [self.rng.choice(found)]
        name = "edge" if whole else role(victims[0])
        for pid in victims:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return {"edge-steward": "edge's steward", "edge": "edge"}.get(
            name, "edge's worker" if name.startswith("edge-worker") else "edge's supervisor"
        )

    # looking

    def damaged(self) -> list[str]:
        """Sentences on states that aren't whole."""
        found = []
        for folder in (
            self.manager.data / PUBLISHED_FOLDER,
            self.copy,
            self.edge.work_dir / "data" / HELD_FOLDER,
        ):
            if not folder.exists():
                continue
            store = StateStore(folder)
            for _ in range(TRIES):
                before = store.version()
                try:
                    open_state(store, verified_manifest(folder))
                except HeliostatError as error:
                    if store.version() != before:
                        continue  # it was replaced, and swept away, while we looked
                    found.append(f"{folder.name}: {error}")
                break
        return found

    def is_reporting(self) -> bool:
        with (
            contextlib.suppress(OSError),
            socket.create_connection(("127.0.0.1", self.report_port), timeout=2),
        ):
            return True
        return False

    def counted(self) -> int:
        """Downloads that the manager has."""
        database = f"file:{self.manager.data / 'registry.sqlite3'}?mode=ro"
        with contextlib.closing(sqlite3.connect(database, uri=True, timeout=30)) as connection:
            (found,) = connection.execute(
                "SELECT coalesce(sum(downloads), 0) FROM nodes_downloadcount"
            ).fetchone()
            return int(found)

    def waiting(self) -> list[Path]:
        return list((self.edge.work_dir / "data/edge/spool").glob("*.s*"))

    def stop(self) -> None:
        for process in (self.web, self.running):
            if process is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        for pid in processes_with(str(self.edge.config)):
            if is_alive(pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 100_000)
    options = parser.parse_args()
    rng = random.Random(options.seed)
    killed: Counter[str] = Counter()
    edge_deaths: list[float] = []
    faults: list[str] = []
    slowest_s = 0.0
    with tempfile.TemporaryDirectory(prefix="heliostat-soak-") as name:
        planes = Planes(Path(name), rng)
        people = People(planes.edge)
        try:
            planes.start()
            people.start()
            for _ in range(options.kills):
                time.sleep(rng.uniform(*PAUSE_S))
                who = rng.choice(("edge", "edge", "manager", "publisher"))
                if who == "edge":
                    edge_deaths.append(time.monotonic())
                    who = planes.kill_edge()
                elif who == "manager":
                    planes.kill_manager()
                else:
                    planes.kill_publisher()
                killed[who] += 1
                faults += [f"after {who} died: {one}" for one in planes.damaged()]
                slowest_s = max(slowest_s, _back(planes, people, who))
            faults += _settle(planes, people, edge_deaths)
        except AssertionError as error:
            faults.append(f"did not come back: {error}")
            print((planes.folder / "log").read_text()[-3000:])
            print(planes.edge.log_path.read_text()[-3000:])
        finally:
            people.stopped.set()
            planes.stop()
        print(f"seed {options.seed}; killed: {dict(killed)}, {sum(killed.values())} in all")
        print(f"longest from a kill to all serving again: {slowest_s:.1f} s")
        print(f"other answers than 302: {dict(people.others)}")
    for fault in faults:
        print(f"FAILED: {fault}")
    return 1 if faults else 0


def _back(planes: Planes, people: People, who: str) -> float:
    """Seconds until what was killed serves again."""

    def serves_again() -> bool:
        planes.service.tend()
        return serves(planes.edge, WORKERS) and planes.is_reporting()

    took_s = until(serves_again, START_S)
    before = len(people.answered)
    until(lambda: len(people.answered) > before, START_S)
    return took_s


def _settle(planes: Planes, people: People, deaths: list[float]) -> list[str]:
    """Everything at rest: are all the counts at the manager, and is its last state the edge's?"""
    planes.release()
    planes.manager.done("tree", "scan")
    planes.manager.run("state", "publish")
    published = StateStore(planes.manager.data / PUBLISHED_FOLDER)
    held = StateStore(planes.edge.work_dir / "data" / HELD_FOLDER)
    until(lambda: held.version() == published.version(), START_S)
    people.stopped.set()
    people.join(30)
    code = planes.service.end()
    planes.service.main = None
    planes.service.tend()
    until(lambda: serves(planes.edge, WORKERS), START_S)
    until(lambda: not planes.waiting(), REPORTED_S)
    counted, answered = planes.counted(), len(people.answered)
    may_lack = sum(any(0 <= death - when <= LAST_S for death in deaths) for when in people.answered)
    print(
        f"downloads answered {answered:,}, counted {counted:,}; {people.unclear} broke off;"
        f" {may_lack:,} were in the last second before one of {len(deaths)} kills of the edge"
    )
    faults = [f"the edge ended with {code}"] if code else []
    if counted < answered - may_lack:
        faults.append(f"{answered - may_lack - counted} counts are lost beyond the last second")
    if counted > answered + people.unclear:
        faults.append(f"{counted - answered - people.unclear} downloads are counted twice")
    return faults


if __name__ == "__main__":
    sys.exit(main())
