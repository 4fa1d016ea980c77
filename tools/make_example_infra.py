"""Writes deploy/example-infra: the public part of what `heliostat infra init` makes of its example.

Run it after a change to the example's answers, the skeleton or the version; a test compares. The
root of trust is kept when there is one: its keys were thrown away when it was made, for it is an
example. private/ can't be here, a repository within this one: `heliostat infra init` makes it.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from heliostat.infra.answers import read_answers
from heliostat.infra.assets import COLLECTION, EXAMPLE
from heliostat.infra.public import TRUST, public_files
from heliostat.state.keys import KeyFolder

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / "deploy" / "example-infra"
GITMODULES = """\
[submodule "private"]
\tpath = private
\turl = ../example-infra-private.git
\tbranch = main
"""


def write(target: Path) -> None:
    """Writes all files but the root of trust into `target`."""
    files = {**public_files(read_answers(EXAMPLE)), ".gitmodules": GITMODULES}
    for path, text in files.items():
        file = target / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    link = target / COLLECTION
    link.parent.mkdir(parents=True, exist_ok=True)
    if not link.is_symlink():
        link.symlink_to("../../../../ansible")  # the collection stands beside the example here


def main() -> int:
    """Writes deploy/example-infra anew."""
    kept = (TARGET / TRUST).read_bytes() if (TARGET / TRUST).exists() else _throwaway_root()
    shutil.rmtree(TARGET, ignore_errors=True)
    write(TARGET)
    (TARGET / TRUST).parent.mkdir()
    (TARGET / TRUST).write_bytes(kept)
    print(f"wrote {TARGET.relative_to(ROOT)}")
    return 0


def _throwaway_root() -> bytes:
    with tempfile.TemporaryDirectory() as scratch:
        keys = KeyFolder(Path(scratch) / "keys")
        keys.make(datetime.now(UTC), Path(scratch) / "root.pem", b"nobody has to know this")
        return keys.roots()[1]


if __name__ == "__main__":
    sys.exit(main())
