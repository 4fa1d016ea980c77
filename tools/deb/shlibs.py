"""Which Debian packages have the shared libraries that a folder of extension modules asks for.

Libraries that lie in the folder themselves (wheels bring many) ask for nobody.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

COMMAND_S = 120


def packages_of(folder: Path) -> list[str]:
    """Their names, sorted.

    Raises:
        LookupError: a library is neither in the folder nor in a package of this machine.
    """
    objects = [path for path in folder.rglob("*.so*") if _is_elf(path)]
    own = {path.name for path in objects}
    dynamic = _said("readelf", "--dynamic", *map(str, objects))
    needed = set(re.findall(r"\(NEEDED\).*\[(.+?)\]", dynamic)) - own
    return sorted({_package(name) for name in needed})


def _is_elf(path: Path) -> bool:
    """Not every file named so is a library: some are text, or empty."""
    if not path.is_file():
        return False
    with path.open("rb") as handle:
        return handle.read(4) == b"\x7fELF"


def _package(library: str) -> str:
    """ldconfig's place of it; dpkg knows it with or without /usr (merged on Debian 12)."""
    found = re.findall(
        rf"^\s*{re.escape(library)} .*=> (\S+)$", _said("ldconfig", "-p"), re.MULTILINE
    )
    if library.startswith("ld-linux"):
        return "libc6"
    for place in found:
        for path in (Path(place), Path(place).resolve()):
            for shown in (str(path), str(path).removeprefix("/usr"), f"/usr{path}"):
                said = _said("dpkg-query", "--search", shown, may_fail=True)
                if said:
                    return said.partition(":")[0]
    raise LookupError(f"{library}: no package of this machine has it; install it, or build without")


def _said(*command: str, may_fail: bool = False) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_S, check=False)
    if done.returncode != 0 and not may_fail:
        raise LookupError(f"{command[0]}: {done.stderr.strip()}")
    return done.stdout
