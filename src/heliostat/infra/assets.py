"""What comes along with Heliostat for infrastructure repositories: the collection, the skeleton.

The collection is a folder of the installed package; in a checkout it is found at deploy/ansible.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

from heliostat.infra.errors import InfraError

PACKAGE: Final = Path(__file__).parent
SKELETON: Final = PACKAGE / "skeleton"
EXAMPLE: Final = PACKAGE / "example.toml"
COLLECTION: Final = Path("collections/ansible_collections/heliostat/fleet")
"""Where the collection stands in an infrastructure repository."""

DOT: Final = "dot-"
"""Begins the names of hidden files in the skeleton: git would obey its .gitattributes here."""
LEFT_OUT: Final = ("__pycache__", "*.pyc", ".cache", ".ansible", "*.tar.gz")


def collection_folder() -> Path:
    """The collection heliostat.fleet of this installation.

    Raises:
        InfraError: it didn't come along.
    """
    for folder in (PACKAGE / "collection", PACKAGE.parents[2] / "deploy" / "ansible"):
        if (folder / "galaxy.yml").is_file():
            return folder
    raise InfraError(
        f"{PACKAGE / 'collection'}: this installation lacks the Ansible collection; install the"
        " wheel or work in a checkout"
    )


def copy_collection(repository: Path) -> None:
    """Puts the collection into `repository`, in the place of another version of it."""
    source = collection_folder()
    target = repository / COLLECTION
    if target.is_symlink():
        target.unlink()
    shutil.rmtree(target, ignore_errors=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copytree(source, target, ignore=shutil.ignore_patterns(*LEFT_OUT))


def skeleton(part: str) -> dict[str, str]:
    """Path → text of the files of a part ("public", "private") that are the same for everybody."""
    root = SKELETON / part
    found = {}
    for file in sorted(root.rglob("*")):
        if file.is_file():
            parts = file.relative_to(root).parts
            path = "/".join(
                f".{name.removeprefix(DOT)}" if name.startswith(DOT) else name for name in parts
            )
            found[path] = file.read_text(encoding="utf-8")
    return found
