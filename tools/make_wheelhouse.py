"""Makes a wheelhouse: every wheel that a rollout installs, with its hash, for this platform.

    python tools/make_wheelhouse.py [FOLDER]         (default dist/wheelhouse)

Writes into FOLDER
    *.whl                       Heliostat's own wheel, built from this tree, and all it depends on
    requirements-edge.txt       what an edge installs, every line pinned and with its sha256
    requirements-manager.txt    the same of a manager
    wheels-edge.txt, wheels-manager.txt   names of the files that each needs

The versions are those of constraints.txt: what was tested is what is rolled out. FOLDER is made
anew and takes its name only when it is whole.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FLAVOURS = {"edge": "", "manager": "[manager]"}
PIP_S = 1800
"""Longest time for one run of pip."""
BUILT_AT_S = "1700000000"
"""SOURCE_DATE_EPOCH: the same tree gives the same wheel."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT / "dist/wheelhouse")
    parser.add_argument("--source", type=Path, default=ROOT, help="tree of the wheel")
    arguments = parser.parse_args()
    folder = arguments.folder.absolute()
    folder.parent.mkdir(parents=True, exist_ok=True)
    making = Path(tempfile.mkdtemp(prefix=".wheelhouse-", dir=folder.parent))
    try:
        own = build(arguments.source, making)
        for flavour, extra in FLAVOURS.items():
            write_flavour(making, flavour, own, extra)
        making.chmod(0o755)
        shutil.rmtree(folder, ignore_errors=True)
        making.rename(folder)
    finally:
        shutil.rmtree(making, ignore_errors=True)
    wheels = list(folder.glob("*.whl"))
    size = sum(wheel.stat().st_size for wheel in wheels)
    print(f"{folder}: {own}, {len(wheels)} wheels, {size / 1e6:.0f} MB")


def build(source: Path, into: Path) -> str:
    """Our own wheel; its file name."""
    pip("wheel", "--no-deps", "--wheel-dir", str(into), str(source))
    (own,) = into.glob("heliostat-*.whl")
    return own.name


def write_flavour(folder: Path, flavour: str, own: str, extra: str) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        pip(
            *("download", "--only-binary", ":all:", "--dest", scratch, "--find-links", str(folder)),
            *("-c", str(ROOT / "constraints.txt"), f"{folder / own}{extra}"),
        )
        names = sorted(path.name for path in Path(scratch).glob("*.whl"))
        for name in names:
            if not (folder / name).exists():
                shutil.move(Path(scratch) / name, folder / name)
    (folder / f"wheels-{flavour}.txt").write_text("".join(f"{name}\n" for name in names))
    lines = []
    for name in names:
        project, version = name.split("-")[:2]
        digest = hashlib.sha256((folder / name).read_bytes()).hexdigest()
        project = project.replace("_", "-").lower()
        wanted = f"heliostat{extra}" if name == own else project
        lines.append(f"{wanted}=={version} --hash=sha256:{digest}\n")
    (folder / f"requirements-{flavour}.txt").write_text("".join(sorted(lines)))


def pip(*arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", *arguments],
        timeout=PIP_S,
        env={**os.environ, "SOURCE_DATE_EPOCH": BUILT_AT_S},
        check=False,
    )
    if done.returncode != 0:
        sys.exit(f"pip {arguments[0]} failed ({done.returncode}); see above")


if __name__ == "__main__":
    main()
