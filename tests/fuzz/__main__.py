"""Fuzzes one target: `python -m tests.fuzz TARGET [libFuzzer options] [CORPUS_FOLDER]`.

For instance `python -m tests.fuzz http -max_total_time=3600 corpus/http`. Ends with an exit code
other than 0, and the input that did it, at the first thing that must never happen.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["heliostat.edge", "heliostat.probe", "heliostat.state"]):
    from tests.fuzz.targets import TARGETS


def main() -> None:
    if len(sys.argv) < 2 or sys.argv[1] not in TARGETS:
        sys.exit(f"usage: python -m tests.fuzz TARGET [options]; targets: {', '.join(TARGETS)}")
    target = TARGETS[sys.argv.pop(1)]
    with tempfile.TemporaryDirectory(prefix="heliostat-seeds-") as folder:
        for number, seed in enumerate(target.seeds):
            target.run(seed)
            (Path(folder) / str(number)).write_bytes(seed)
        atheris.Setup([*sys.argv, folder], target.run)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
