"""Managers that are gone, clocks that are wrong, disks that are full, states that are forged."""

from __future__ import annotations

import contextlib
import shutil
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from heliostat.state.keys import KEYS_FOLDER, KeyFolder
from heliostat.state.sign import sign
from heliostat.state.store import HELD_FOLDER, StateStore
from tests.fleet.faults import Fault
from tests.fleet.hosts import run
from tests.fleet.stage import EDGES, Fleet
from tests.fleet.test_edges import pytestmark as fleet_marks

pytestmark = [*fleet_marks, pytest.mark.needs("faketime"), pytest.mark.needs("e2fsprogs")]

DISK_BYTES = 400 * 1024 * 1024


def version(fleet: Fleet, edge: str) -> int:
    return int(fleet.status(edge)["state"])


def restarted(fleet: Fleet, name: str, offset: str = "") -> None:
    """An edge started again, with its clock shifted."""
    edge = fleet.services[name]
    edge.stop()
    if offset:
        edge.start(("faketime", "-f", offset), FAKETIME_DONT_FAKE_MONOTONIC="1")
    else:
        edge.start()


@pytest.mark.parametrize("days", [30, 70])
def test_the_manager_gone_for_long(fleet: Fleet, days: int) -> None:
    """Edges even restart meanwhile; after 60 days what they hold has run out, and serves on."""
    fleet.services["manager"].stop()
    with Fault(fleet, f"manager gone for {days} days, both edges restarted") as fault:
        for name in EDGES:
            restarted(fleet, name, f"+{days}d")
            fault.detected(lambda one=name: f"{days} days old" in _health(fleet, one), 30)  # type: ignore[misc]
        if days == 30:  # one that was emptied is filled by its peer
            fleet.services["fra"].stop()
            shutil.rmtree(fleet.folder / "fra" / "data" / HELD_FOLDER)
            with fleet.net.hosts["s3"].cut():
                restarted(fleet, "fra", f"+{days}d")
                fault.recovered(lambda: "heliostat ok" in _health(fleet, "fra"), 40)
    for name in EDGES:
        restarted(fleet, name)
    fleet.services["manager"].start()


def _health(fleet: Fleet, name: str) -> str:
    return fleet.curl(name, f"http://{EDGES[name][0]}/-/healthz")


@pytest.mark.parametrize("offset", ["+1d", "-1d"])
def test_a_clock_that_is_a_day_off(fleet: Fleet, offset: str) -> None:
    with Fault(fleet, f"clock of an edge {offset}") as fault:
        restarted(fleet, "nyc", offset)
        fault.recovered(lambda: fleet.answered() == fleet.all_addresses(), 40)
        fleet.release(f"iso/clock{offset}.iso")
        url = f"http://{EDGES['nyc'][0]}/iso/clock{offset}.iso"
        fault.recovered(lambda: "302" in fleet.curl("people", url, "-I"), 90)
    restarted(fleet, "nyc")


@contextlib.contextmanager
def own_disk(fleet: Fleet, name: str) -> Iterator[Path]:
    """An edge whose data_dir is a file system of its own: ext4 in a file."""
    edge, data = fleet.services[name], fleet.folder / name / "data"
    image = fleet.folder / name / "disk.img"
    edge.stop()
    kept = data.rename(fleet.folder / name / "kept")
    data.mkdir()
    with image.open("wb") as handle:
        handle.truncate(DISK_BYTES)
    run("mkfs.ext4", "-q", str(image))
    run("mount", "-o", "loop", str(image), str(data))
    try:
        shutil.copytree(kept, data, dirs_exist_ok=True, ignore=_no_sockets)
        edge.start()
        yield data
    finally:
        edge.stop()
        run("umount", "-l", str(data))
        data.rmdir()
        kept.rename(data)
        edge.start()
        image.unlink()


def _no_sockets(folder: str, names: list[str]) -> list[str]:
    return [name for name in names if (Path(folder) / name).is_socket()]


@pytest.mark.parametrize("kind", ["full", "read-only"])
def test_a_disk_that_takes_nothing(fleet: Fleet, kind: str) -> None:
    """Read-only as ext4 makes itself after an error of the disk, under open files."""
    with own_disk(fleet, "fra") as data, Fault(fleet, f"disk of an edge {kind}") as fault:
        fault.recovered(lambda: version(fleet, "fra") and fleet.health("fra") == "ok", 40)
        fault.recovered(lambda: fleet.answered() == fleet.all_addresses(), 40)
        before = version(fleet, "fra")
        if kind == "full":
            _fill(data / "filler")
        else:
            run("mount", "-o", "remount,abort", str(data))
        path = f"iso/{kind}.iso"
        fleet.release(path)
        fault.detected(lambda: version(fleet, "nyc") > before and _told(fleet, "fra"), 90)
        assert fleet.health("fra").startswith("ok")
        assert version(fleet, "fra") == before
        if kind == "full":
            (data / "filler").unlink()
        else:  # as whoever has the machine does: check, mount, start
            edge = fleet.services["fra"]
            edge.stop()
            run("umount", "-l", str(data))
            run("e2fsck", "-fy", str(data.parent / "disk.img"), check=False)
            run("mount", "-o", "loop", str(data.parent / "disk.img"), str(data))
            edge.start()
        url = f"http://{EDGES['fra'][0]}/{path}"
        fault.recovered(lambda: "302" in fleet.curl("people", url, "-I"), 120)


def _fill(path: Path) -> None:
    """To the last block."""
    with path.open("ab", buffering=0) as filler:
        for size in (1 << 20, 4096, 1):
            with contextlib.suppress(OSError):
                while True:
                    filler.write(b"\0" * size)


def _told(fleet: Fleet, name: str) -> bool:
    return any(one["reason"] for one in fleet.status(name)["sources"])


def test_a_state_corrupted_at_rest(fleet: Fleet) -> None:
    """A bad disk block while the edge is down, and its sources are gone: the peer has it."""
    edge = fleet.services["fra"]
    with Fault(fleet, "state corrupted at rest") as fault:
        edge.stop(signal.SIGKILL)
        held = StateStore(fleet.folder / "fra" / "data" / HELD_FOLDER)
        path = held.path_of(held.manifest().files["mirrors"])
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 0xFF
        path.write_bytes(content)
        with fleet.net.hosts["s3"].cut():
            edge.start()
            fault.recovered(lambda: fleet.health("fra") == "ok", 40)
        assert "the held state is damaged" in (fleet.folder / "fra" / "log").read_text()


@pytest.mark.parametrize("kind", ["corrupt", "old", "forged"])
def test_a_source_that_offers_what_is_not_right(fleet: Fleet, kind: str) -> None:
    """The bucket is taken over by somebody; the edges stay, and say so."""
    manager = fleet.folder / "manager" / "data"
    store = StateStore(manager / "state")
    copy = StateStore(Path(shutil.copytree(store.folder, fleet.folder / kind)))
    manifest = copy.manifest()
    keys = KeyFolder(manager / KEYS_FOLDER)
    if kind == "forged":
        keys = KeyFolder(fleet.folder / "forged-keys")
        keys.make(manifest.published_at, None, b"")
    step = {"corrupt": 10, "old": -1000, "forged": 1000}[kind]
    changed = replace(manifest, version=manifest.version + step)
    signed = sign(changed, keys)
    if kind == "corrupt":
        signed = replace(signed, targets=signed.targets[:-50])
    fault_names = {"corrupt": "truncated", "old": "rollback", "forged": "signature"}
    fleet.services["manager"].stop()
    kept = fleet.heliostat("manager", "state", "show", "--json")
    assert str(manifest.version) in kept
    with Fault(fleet, f"{kind} state offered by a source") as fault:
        _put(fleet, signed)
        fault.detected(
            lambda: all(
                fleet.status(name)["sources"][0]["fault"] == fault_names[kind] for name in EDGES
            ),
            40,
        )
        assert all(fleet.health(name).startswith("ok") for name in EDGES)
        fleet.net.hosts["s3"].run("true")
        _clear(fleet)
        fleet.services["manager"].start()
        fault.recovered(
            lambda: all(not fleet.status(name)["sources"][0]["fault"] for name in EDGES), 90
        )


def _put(fleet: Fleet, signed: object) -> None:
    """Writes metadata into the bucket as whoever took it over would."""
    version = signed.version  # type: ignore[attr-defined]
    for name, raw in (
        (f"{version}.targets.json", signed.targets),  # type: ignore[attr-defined]
        (f"{version}.snapshot.json", signed.snapshot),  # type: ignore[attr-defined]
        ("timestamp.json", signed.timestamp),  # type: ignore[attr-defined]
    ):
        path = fleet.folder / "put.json"
        path.write_bytes(raw)
        fleet.in_bucket("put", f"heliostat/metadata/{name}", str(path))


def _clear(fleet: Fleet) -> None:
    fleet.in_bucket("delete", "heliostat/metadata/timestamp.json")


def test_the_bucket_gone(fleet: Fleet) -> None:
    with Fault(fleet, "S3 gone") as fault:
        with fleet.net.hosts["s3"].cut():
            fault.detected(
                lambda: all(
                    fleet.status(name)["sources"][0]["fault"] == "unreachable" for name in EDGES
                ),
                60,
            )
            assert all(fleet.health(name).startswith("ok") for name in EDGES)
        fault.recovered(
            lambda: all(not fleet.status(name)["sources"][0]["fault"] for name in EDGES), 120
        )
