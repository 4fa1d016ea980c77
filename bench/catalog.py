"""Scanning beside its peers: hashing beside sha256sum and openssl, an unchanged tree beside find.

    python bench/catalog.py [--rounds 5] [--megabytes 768] [--files 1000000] [--rows 1000000]
                            [--extra sha1]

All cores for everybody, files in the page cache, rounds in turn in one run; medians. A scan hashes
every byte twice, for the digest of the file and for those of its 1 MiB pieces, in one read. So does
the peer "openssl, the same digests" (it is given each file twice, and once more for each --extra);
the two peers above it only make the digest of the file. TMPDIR says where the trees are made.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sqlite3
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from heliostat.catalog import catalog_path, load_table, scan
from heliostat.model.tree import Tree

FILE_BYTES = 64 << 20
SMALL_PER_FOLDER = 1000
TREE = "bench"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--megabytes", type=int, default=768)
    parser.add_argument("--files", type=int, default=1_000_000)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--extra", choices=("sha1", "md5", "sha512"), nargs="*", default=[])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="heliostat-bench-") as folder:
        work = Path(folder)
        hashing(work / "large", options.megabytes, options.rounds, tuple(options.extra))
        unchanged(work / "small", options.files, options.rounds)
        loading(work / "rows", options.rows, options.rounds)


def hashing(work: Path, megabytes: int, rounds: int, extra: tuple[str, ...]) -> None:
    root = work / "tree"
    root.mkdir(parents=True)
    count = max(2, megabytes * (1 << 20) // FILE_BYTES)
    for number in range(count):
        (root / f"image-{number}.iso").write_bytes(os.urandom(FILE_BYTES))
    os.sync()

    def scan_all() -> None:
        shutil.rmtree(work / "data", ignore_errors=True)
        scan(Tree(TREE, str(root), extra_digests=extra), work / "data")

    def same_digests() -> None:
        on_all_cores(root, "sh", "-c", " && ".join(_openssl(extra)), "openssl")

    times = in_turn(
        rounds,
        {
            "heliostat tree scan": scan_all,
            "sha256sum": lambda: on_all_cores(root, "sha256sum"),
            "openssl dgst": lambda: on_all_cores(root, "openssl", "dgst", "-sha256"),
            "openssl, same digests": same_digests,
        },
    )
    size = count * FILE_BYTES
    print(f"hashing {size / 1e6:,.0f} MB in {count} files")
    ours = times["heliostat tree scan"]
    for name, seconds in times.items():
        print(f"  {name:22} {size / seconds / 1e6:8,.0f} MB/s   ratio {seconds / ours:.2f}")
    shutil.rmtree(work)


def _openssl(extra: tuple[str, ...]) -> list[str]:
    """Shell commands for the file "$1": for its digest and its pieces', then each further one."""
    return ['openssl dgst -sha256 "$1" "$1"', *(f'openssl dgst -{name} "$1"' for name in extra)]


def unchanged(work: Path, files: int, rounds: int) -> None:
    root = work / "tree"
    for number in range(files):
        path = root / f"{number // SMALL_PER_FOLDER:04}" / f"package-{number:07}.rpm"
        if number % SMALL_PER_FOLDER == 0:
            path.parent.mkdir(parents=True)
        path.write_bytes(b"%d" % number)
    started = time.perf_counter()
    scan(Tree(TREE, str(root)), work / "data")
    print(f"first scan of {files:,} small files: {time.perf_counter() - started:.2f} s")

    def find() -> None:
        command = ["find", str(root), "-type", "f", "-printf", "%s %T@ %i %P\\n"]
        subprocess.run(command, stdout=subprocess.DEVNULL, check=True)

    times = in_turn(
        rounds,
        {"unchanged scan": lambda: scan(Tree(TREE, str(root)), work / "data"), "find": find},
    )
    ours = times["unchanged scan"]
    for name, seconds in times.items():
        print(f"  {name:22} {seconds:8.3f} s      ratio {seconds / ours:.2f}")
    shutil.rmtree(work)


def loading(work: Path, rows: int, rounds: int) -> None:
    (work / "tree").mkdir(parents=True)
    (work / "tree" / "one").touch()
    scan(Tree(TREE, str(work / "tree")), work / "data")
    path = catalog_path(work / "data", TREE)
    connection = sqlite3.connect(path)
    names = (
        (
            b"releases/40/Everything/x86_64/os/Packages/%c/p-%d.rpm" % (97 + n % 26, n),
            os.urandom(32),
        )
        for n in range(rows)
    )
    connection.executemany("INSERT INTO file VALUES (NULL, ?, 1000, 1, 1, ?, 0, 0, 1)", names)
    connection.commit()
    connection.close()

    def peer() -> None:
        with sqlite3.connect(path) as reader:
            reader.execute("SELECT path, sha256 FROM file ORDER BY path").fetchall()
        reader.close()

    times = in_turn(
        rounds,
        {"load_table": lambda: load_table(work / "data", TREE), "bare SELECT": peer},
    )
    print(f"reading a catalog of {rows:,} files")
    ours = times["load_table"]
    for name, seconds in times.items():
        print(f"  {name:22} {seconds:8.3f} s      ratio {seconds / ours:.2f}")


def on_all_cores(root: Path, *command: str) -> None:
    names = b"\0".join(os.fsencode(path) for path in sorted(root.iterdir()))
    cores = str(len(os.sched_getaffinity(0)))
    subprocess.run(
        ["xargs", "-0", "-n", "1", "-P", cores, *command],
        input=names,
        stdout=subprocess.DEVNULL,
        check=True,
    )


def in_turn(rounds: int, runners: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Median seconds of each runner; one round runs each once, after one to warm up."""
    times: dict[str, list[float]] = {name: [] for name in runners}
    for round_no in range(rounds + 1):
        for name, run in runners.items():
            started = time.perf_counter()
            run()
            if round_no:
                times[name].append(time.perf_counter() - started)
    return {name: statistics.median(seconds) for name, seconds in times.items()}


if __name__ == "__main__":
    main()
