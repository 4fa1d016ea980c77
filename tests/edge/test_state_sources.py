"""Edges get states from web servers, buckets and each other, and refuse what isn't right."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from heliostat.state import sources
from heliostat.state.compile import compile_state
from heliostat.state.errors import SourceError
from heliostat.state.keys import KEYS_FOLDER, KeyFolder
from heliostat.state.sign import sign
from heliostat.state.sources import WebSource
from heliostat.state.store import HELD_FOLDER, StateStore
from heliostat.state.trust import verified_manifest
from tests.edge.processes.helpers import admin, log_of, status, until
from tests.support.edge import EdgeProcess
from tests.support.worlds import GERMANY, known_world, make_catalog, make_mirror

PATH = "/iso/a.iso"
CATALOG = make_catalog({b"iso/a.iso": b"1", **{b"f%d" % n: b"%d" % n for n in range(30)}})


def publish(folder: Path, name: str = "de.example", *, files: int = 31) -> int:
    """A state with one mirror in `folder`/state; its version."""
    catalog = CATALOG if files == 31 else make_catalog({b"iso/a.iso": b"1"})
    known = known_world(catalog, [make_mirror(name, GERMANY)])
    manifest, _ = compile_state(known, StateStore(folder / "state"), datetime.now(UTC))
    return manifest.version


class Web(SimpleHTTPRequestHandler):
    """A static web server, as any bucket is one; it notes what was asked for."""

    def log_message(self, format: str, *args: object) -> None:
        self.server.asked.append(" ".join(map(str, args)))  # type: ignore[attr-defined]


@contextmanager
def web(folder: Path, handler: type[Web] | None = None) -> Iterator[tuple[str, list[str]]]:
    """A web server's URL and what it was asked for."""
    folder.mkdir(parents=True, exist_ok=True)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler or Web, directory=str(folder)))
    asked: list[str] = []
    server.asked = asked  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def root_of(manager: Path) -> Path:
    keys = KeyFolder(manager / KEYS_FOLDER)
    path = manager / "root.json"
    path.write_bytes(keys.roots()[1])
    return path


def edge_of(folder: Path, manager: Path, *sources: str, **settings: object) -> EdgeProcess:
    folder.mkdir(exist_ok=True)
    return EdgeProcess(
        folder,
        sources=list(sources),
        root=str(root_of(manager)),
        source_poll_s=0.2,
        **settings,  # type: ignore[arg-type]
    )


def version_of(edge: EdgeProcess) -> int:
    return int(status(edge).get("state", 0))


def held_of(edge: EdgeProcess) -> StateStore:
    return StateStore(edge.work_dir / "data" / HELD_FOLDER)


def fault_of(edge: EdgeProcess) -> str:
    sources = status(edge).get("sources", [])
    return str(sources[0]["fault"]) if sources else ""


def refused(edge: EdgeProcess, fault: str) -> float:
    line = f'heliostat_edge_state_refused_total{{fault="{fault}"}} '
    return float(admin(edge, "/metrics").partition(line)[2].partition("\n")[0])


def test_a_state_comes_from_a_web_server_and_is_asked_for_conditionally(tmp_path: Path) -> None:
    first = publish(tmp_path)
    with web(tmp_path / "state") as (url, asked), edge_of(tmp_path / "e", tmp_path, url) as edge:
        until(lambda: version_of(edge) == first)
        assert edge.get(PATH).status == 302
        until(lambda: sum("304" in line for line in asked) >= 2)
        before = len([line for line in asked if "/files/" in line])
        second = publish(tmp_path, "other.example")
        until(lambda: version_of(edge) == second)
        until(lambda: "other.example" in edge.get(PATH)["location"])
        fetched = len([line for line in asked if "/files/" in line]) - before
        assert 0 < fetched < before  # only what changed


def test_an_emptied_edge_is_filled_by_its_peer_while_the_manager_is_gone(tmp_path: Path) -> None:
    version = publish(tmp_path)
    with web(tmp_path / "state") as (url, _):
        one = edge_of(tmp_path / "one", tmp_path, url)
        one.start()
        try:
            until(lambda: version_of(one) == version)
        except BaseException:
            one.stop()
            raise
    try:  # the web server is gone
        peer = f"http://127.0.0.1:{one.port}/-/state/"
        gone = "http://127.0.0.1:1/"
        with edge_of(tmp_path / "two", tmp_path, gone, peer) as two:
            until(lambda: version_of(two) == version)
            assert two.get(PATH)["location"] == one.get(PATH)["location"]
            assert verified_manifest(held_of(two).folder) == verified_manifest(held_of(one).folder)
            assert "no source of states" not in two.get("/-/healthz").body.decode()
        until(lambda: "no source of states answers" in one.get("/-/healthz").body.decode())
        assert one.get("/-/healthz").status == 200
    finally:
        one.stop()


def test_the_newest_valid_state_is_taken_whichever_source_has_it(tmp_path: Path) -> None:
    old = tmp_path / "old"
    publish(tmp_path)
    shutil.copytree(tmp_path / "state", old)
    version = publish(tmp_path, "new.example")
    forged = tmp_path / "forged"
    publish(forged)
    store = StateStore(forged / "state")
    manifest = replace(store.manifest(), version=version + 1000)
    store.commit(sign(manifest, KeyFolder(forged / KEYS_FOLDER)))
    with (
        web(old) as (behind, _),
        web(tmp_path / "state") as (newest, _),
        web(forged / "state") as (evil, _),
        edge_of(tmp_path / "e", tmp_path, evil, behind, newest) as edge,
    ):
        until(lambda: version_of(edge) == version)
        assert "new.example" in edge.get(PATH)["location"]
        until(lambda: refused(edge, "signature") >= 1)
        told = {one["source"]: one for one in status(edge)["sources"]}
        assert told[evil]["fault"] == "signature"
        until(lambda: "(signature)" in edge.get("/-/healthz").body.decode())
        assert edge.get("/-/healthz").status == 200


@pytest.fixture
def manager(tmp_path: Path) -> Path:
    publish(tmp_path)
    return tmp_path


def newer(manager: Path, **changes: object) -> StateStore:
    """Publishes another version of what is there, with the manager's own keys."""
    store = StateStore(manager / "state")
    manifest = store.manifest()
    changed = replace(manifest, version=manifest.version + 1, **changes)  # type: ignore[arg-type]
    store.commit(sign(changed, KeyFolder(manager / KEYS_FOLDER)))
    return store


def rollback(manager: Path) -> None:
    store = StateStore(manager / "state")
    older = replace(store.manifest(), version=store.version() - 10)
    store.commit(sign(older, KeyFolder(manager / KEYS_FOLDER)))


def freeze(manager: Path) -> None:
    newer(manager, published_at=datetime.now(UTC) - timedelta(days=61))


def signature(manager: Path) -> None:
    store = StateStore(manager / "state")
    other = KeyFolder(manager / "other-keys")
    other.make(datetime.now(UTC), None, b"")
    manifest = store.manifest()
    store.commit(sign(replace(manifest, version=manifest.version + 1), other))


def mix_and_match(manager: Path) -> None:
    """The snapshot of another version, rightly signed, under the name of the newest one."""
    store = newer(manager)
    old = store.version()
    newer(manager)
    shutil.copy(
        store.metadata / f"{old}.snapshot.json", store.metadata / f"{store.version()}.snapshot.json"
    )


def truncated(manager: Path) -> None:
    store = newer(manager)
    path = store.metadata / f"{store.version()}.targets.json"
    path.write_bytes(path.read_bytes()[:-100])


def oversize(manager: Path) -> None:
    store = newer(manager)
    with store.switch.open("ab") as handle:
        handle.write(b" " * 20_000)


def changed(manager: Path) -> None:
    publish(manager, "other.example")
    store = StateStore(manager / "state")
    path = store.path_of(store.manifest().files["mirrors"])
    path.write_bytes(path.read_bytes().replace(b"other.example", b"evil1.example"))


def missing(manager: Path) -> None:
    publish(manager, "other.example")
    store = StateStore(manager / "state")
    store.path_of(store.manifest().files["mirrors"]).unlink()


def implausible(manager: Path) -> None:
    newer(manager, counts={"mirrors": 0, "files": 31})


def fenced(manager: Path) -> None:
    newer(manager, fence=-1)


TAMPERED = [
    rollback,
    freeze,
    signature,
    mix_and_match,
    truncated,
    oversize,
    changed,
    implausible,
    fenced,
]


@pytest.mark.parametrize("tamper", TAMPERED)
def test_what_is_not_right_is_refused_counted_told_and_served_over(
    manager: Path, tamper: object
) -> None:
    name = tamper.__name__.replace("_", "-")  # type: ignore[attr-defined]
    with web(manager / "state") as (url, _), edge_of(manager / "e", manager, url) as edge:
        version = StateStore(manager / "state").version()
        until(lambda: version_of(edge) == version)
        kept = verified_manifest(held_of(edge).folder)
        before = refused(edge, name)
        tamper(manager)  # type: ignore[operator]
        until(lambda: fault_of(edge) == name)
        assert refused(edge, name) > before
        health = edge.get("/-/healthz")
        until(lambda: f"({name})" in edge.get("/-/healthz").body.decode())
        assert health.status == 200
        assert "state not taken" in log_of(edge)
        assert edge.get(PATH).status == 302
        assert version_of(edge) == version
        assert verified_manifest(held_of(edge).folder) == kept
    with edge:  # and from what is held, once more
        assert edge.get(PATH).status == 302


def test_a_missing_file_is_waited_for(manager: Path) -> None:
    with web(manager / "state") as (url, _), edge_of(manager / "e", manager, url) as edge:
        version = StateStore(manager / "state").version()
        until(lambda: version_of(edge) == version)
        missing(manager)
        until(lambda: fault_of(edge) == "missing")
        assert edge.get(PATH).status == 302
        publish(manager, "third.example")
        until(lambda: "third.example" in edge.get(PATH)["location"])
        until(lambda: fault_of(edge) == "")


def test_rotated_keys_are_followed_and_old_ones_no_longer_believed(manager: Path) -> None:
    keys = KeyFolder(manager / KEYS_FOLDER)
    shutil.copytree(keys.folder, manager / "stolen")
    with web(manager / "state") as (url, _), edge_of(manager / "e", manager, url) as edge:
        until(lambda: version_of(edge) == StateStore(manager / "state").version())
        keys.rotate(datetime.now(UTC), None, b"")
        version = publish(manager, "rotated.example")
        until(lambda: version_of(edge) == version)
        store = StateStore(manager / "state")
        thief = KeyFolder(manager / "stolen")
        store.commit(sign(replace(store.manifest(), version=version + 5), thief))
        until(lambda: fault_of(edge) == "signature")
        assert version_of(edge) == version
    with edge:  # the chain of roots is held, too
        assert edge.get(PATH).status == 302


def test_the_state_of_the_installation_is_the_last_resort(manager: Path) -> None:
    root_of(manager)
    store = StateStore(manager / "state")
    newer(manager, published_at=datetime.now(UTC) - timedelta(days=100))
    shipped = shutil.copytree(store.folder, manager / "shipped")
    with edge_of(
        manager / "e", manager, "http://127.0.0.1:1/", installed_state=str(shipped)
    ) as edge:
        until(lambda: edge.get(PATH).status == 302)
        until(lambda: "100 days old" in edge.get("/-/healthz").body.decode())
        assert "state of the installation" in log_of(edge)


def test_a_state_damaged_at_rest_is_fetched_anew(manager: Path) -> None:
    with web(manager / "state") as (url, _):
        edge = edge_of(manager / "e", manager, url)
        with edge:
            until(lambda: version_of(edge) > 0)
        held = held_of(edge)
        paths = [held.switch, held.path_of(held.manifest().files["mirrors"])]
        for path in paths:
            content = bytearray(path.read_bytes())
            content[len(content) // 2] ^= 1
            path.write_bytes(content)
            with edge:
                until(lambda: edge.get(PATH).status == 302)
            assert "the held state is damaged" in log_of(edge)
            verified_manifest(held.folder)
            held.verify(held.manifest())


def test_large_files_of_the_state_are_whole_and_few_strangers_get_them_at_once(
    manager: Path,
) -> None:
    with web(manager / "state") as (url, _), edge_of(manager / "e", manager, url) as edge:
        until(lambda: version_of(edge) > 0)
        held = held_of(edge)
        largest = max(held.manifest().files.values(), key=lambda file: file.size_bytes)
        target = f"/-/state/files/{largest.disk_name}"
        assert largest.size_bytes > 8 * 1024 * 1024
        reply = edge.get(target)
        assert (reply.status, reply.body) == (200, held.path_of(largest).read_bytes())
        assert edge.exchange(f"HEAD {target} HTTP/1.1\r\nHost: t\r\n\r\n".encode()).endswith(
            b"\r\n\r\n"
        )
        slow = []
        try:
            for _ in range(4):  # they ask, and read nothing
                link = socket.socket()
                link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                link.connect(("127.0.0.1", edge.port))
                link.sendall(f"GET {target} HTTP/1.1\r\nHost: t\r\n\r\n".encode())
                slow.append(link)
            until(lambda: edge.get(target).status == 503)
            assert edge.get(PATH).status == 302
            assert edge.get("/-/state/metadata/timestamp.json").status == 200
        finally:
            for link in slow:
                link.close()
        until(lambda: edge.get(target).status == 200)


@pytest.mark.parametrize(
    "path",
    [
        "metadata/../manifest",
        "metadata/%2e%2e/spool/x",
        "spool/",
        "files/",
        "files/x",
        "writer.lock",
        "metadata/1.root.json.bak",
        "",
    ],
)
def test_nothing_else_of_the_folder_is_shown(tmp_path: Path, path: str) -> None:
    publish(tmp_path)
    with edge_of(tmp_path / "e", tmp_path, "http://127.0.0.1:1/") as edge:
        (edge.work_dir / "data" / HELD_FOLDER / "metadata").mkdir(parents=True, exist_ok=True)
        assert edge.get(f"/-/state/{path}").status in (400, 404)


def test_a_conditional_request_for_the_switch_is_answered_304(manager: Path) -> None:
    with web(manager / "state") as (url, _), edge_of(manager / "e", manager, url) as edge:
        until(lambda: version_of(edge) > 0)
        reply = edge.get("/-/state/metadata/timestamp.json")
        assert json.loads(reply.body)["signed"]["version"] == version_of(edge)
        again = edge.get("/-/state/metadata/timestamp.json", If_None_Match=reply["etag"])
        assert (again.status, again.body) == (304, b"")
        time.sleep(0.01)
        old = reply["etag"]
        publish(manager, "other.example")
        until(lambda: edge.get("/-/state/metadata/timestamp.json", If_None_Match=old).status == 200)


@contextmanager
def dripping(after: bytes) -> Iterator[str]:
    """A server that sends `after`, then a byte a second for as long as anybody listens."""
    listener = socket.create_server(("127.0.0.1", 0))
    stopped = threading.Event()

    def serve() -> None:
        while not stopped.is_set():
            try:
                link, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=drip, args=(link,), daemon=True).start()

    def drip(link: socket.socket) -> None:
        with link, contextlib.suppress(OSError):
            link.recv(4096)
            link.sendall(after)
            while not stopped.wait(0.2):
                link.sendall(b"x")

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
    finally:
        stopped.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


@pytest.mark.parametrize(
    "after", [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n"]
)
def test_a_source_that_drips_is_given_up(after: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "SHORT_S", 1.0)
    with dripping(after) as url, pytest.raises(SourceError, match="takes longer than 1 s"):
        WebSource(url).timestamp()


def test_a_source_may_redirect_but_not_for_ever(tmp_path: Path) -> None:
    class Redirect(Web):
        def do_GET(self) -> None:
            self.send_response(302)
            self.send_header("Location", self.path + "x")
            self.end_headers()

    with web(tmp_path, Redirect) as (url, asked):
        with pytest.raises(SourceError, match="redirects more than 3 times"):
            WebSource(url).timestamp()
        assert len(asked) == 4
