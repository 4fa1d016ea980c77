"""The world that benchmarks serve: made and compiled once, kept, and lent out.

    python -m support.world FOLDER PATHS MIRRORS SEED        (in bench/; what `ensure_world` runs)

A folder that has the file `done` is whole; anything else there is made anew. Making 3,000,000
paths × 500 mirrors takes two minutes and 1.5 GB, in a process that is gone before anything is
measured.
"""

from __future__ import annotations

import ipaddress
import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))  # for tests.*, which is not installed

import numpy as np  # noqa: E402 - after the path is set

from heliostat.config.load import LoadedConfig  # noqa: E402
from heliostat.config.schema import Config  # noqa: E402
from heliostat.geo.sources import load_places  # noqa: E402
from heliostat.state.compile import compile_state  # noqa: E402
from heliostat.state.keys import KEYS_FOLDER  # noqa: E402
from heliostat.state.manifest import FORMAT, METADATA_FOLDER  # noqa: E402
from heliostat.state.store import PUBLISHED_FOLDER, StateStore  # noqa: E402
from made_world import CITIES, WorldSize, client_addresses, make_knowledge  # noqa: E402
from tests.geo.mmdb_files import write_mmdb  # noqa: E402

PATHS_IN_LOAD = 100_000
CLIENTS_IN_LOAD = 50_000
MAKING_TIME_S = 1_800
DONE = "done"
PATHS_FILE = "paths.txt"
CLIENTS_FILE = "clients.txt"
COUNTRIES_FILE = "countries.mmdb"


def default_folder(size: WorldSize) -> Path:
    name = f"heliostat-bench-{size.paths}x{size.mirrors}-seed{size.seed}"
    return Path(tempfile.gettempdir()) / name


def ensure_world(size: WorldSize, folder: Path | None = None) -> Path:
    """The folder of a whole world of that size; made now when it isn't there.

    Raises:
        SystemExit: it can't be made, or `folder` holds something else.
    """
    folder = (folder or default_folder(size)).resolve()
    label = f"{size.paths} {size.mirrors} {size.seed} format {FORMAT}"
    with suppress(FileNotFoundError):
        found = (folder / DONE).read_text().strip()
        if found == label:
            return folder
        if "format" in found and f"format {FORMAT}" in found:
            sys.exit(f"{folder} holds a world of another size ({found}); name another --world")
        shutil.rmtree(folder)  # made by an older Heliostat
    print(f"making a world of {size.paths:,} paths × {size.mirrors} mirrors (once)", flush=True)
    subprocess.run(
        [sys.executable, "-m", "support.world", str(folder), *label.split()[:3]],
        cwd=ROOT / "bench",
        check=True,
        timeout=MAKING_TIME_S,
    )
    return folder


def make_world(size: WorldSize, folder: Path) -> None:
    """Compiles the state, and writes what loads and peers read."""
    folder.mkdir(parents=True, exist_ok=True)
    loaded = LoadedConfig(folder / "none.toml", Config(data_dir=folder / "geo"))
    knowledge = make_knowledge(size, load_places(loaded))
    compile_state(knowledge, StateStore(folder / PUBLISHED_FOLDER), datetime.now(UTC))
    paths = knowledge.catalogs["world"].paths
    rng = np.random.default_rng(size.seed + 1)
    chosen = rng.choice(len(paths), min(PATHS_IN_LOAD, len(paths)), replace=False)
    lines = "".join(f"/{paths[i].decode()}\n" for i in chosen)
    (folder / PATHS_FILE).write_text(lines)
    clients = client_addresses(CLIENTS_IN_LOAD, size.seed + 2)
    (folder / CLIENTS_FILE).write_text("".join(f"{address}\n" for address in clients))
    _write_countries(folder / COUNTRIES_FILE, clients)
    (folder / DONE).write_text(f"{size.paths} {size.mirrors} {size.seed} format {FORMAT}\n")


def _write_countries(path: Path, clients: list[str]) -> None:
    """A country of each client's /24, one country a /16: as deep a tree as real ones have."""
    records = [{"country": {"iso_code": city[0]}} for city in CITIES]
    networks = {}
    for client in clients:
        network = ipaddress.ip_network(f"{client}/24", strict=False)
        networks[str(network)] = records[
            (int(network.network_address) >> 16) * 2_654_435_761 % (1 << 32) % len(records)
        ]
    write_mmdb(path, networks, database_type="Bench-Country")


def lend_state(world: Path, data: Path) -> Path:
    """The world's state as the published state of `data`; what is published there changes no other.

    Files are hard links where the file system has them: none is ever written again.
    """
    target = data / PUBLISHED_FOLDER
    (target / "files").mkdir(parents=True)
    for source in (world / PUBLISHED_FOLDER / "files").iterdir():
        try:
            os.link(source, target / "files" / source.name)
        except OSError:
            shutil.copyfile(source, target / "files" / source.name)
    for folder, to in (
        (world / PUBLISHED_FOLDER / METADATA_FOLDER, target / METADATA_FOLDER),
        (world / KEYS_FOLDER, data / KEYS_FOLDER),
    ):
        shutil.copytree(folder, to)
    return target


def main() -> None:
    folder, paths, mirrors, seed = sys.argv[1:]
    make_world(WorldSize(int(paths), int(mirrors), int(seed)), Path(folder))


if __name__ == "__main__":
    main()
