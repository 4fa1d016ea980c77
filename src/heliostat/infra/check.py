"""`heliostat infra check`: everything that can be known of a repository without touching a server.

Promises: changes nothing; needs no key, and not even private/; what it couldn't look at it says.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, Root

from heliostat.config.errors import ConfigError
from heliostat.infra import history, inventory, private
from heliostat.infra.errors import InfraError
from heliostat.infra.findings import Findings
from heliostat.infra.git import git
from heliostat.infra.leaks import leaks
from heliostat.infra.public import INVENTORY, MIRRORS, PLAYBOOKS, TRUST
from heliostat.manager.registry.mirror_file import MirrorFilesError, read_mirror_files
from heliostat.state.keys import MAX_ROOT_BYTES, ONLINE_ROLES

MAX_SHOWN_LINES: Final = 20
MAX_SHOWN_CHARS: Final = 300


def check(repository: Path) -> Findings:
    """Looks at everything.

    Raises:
        InfraError: `repository` is no infrastructure repository.
    """
    repository = repository.absolute()
    if not (repository / INVENTORY).is_dir():
        raise InfraError(
            f"{repository}: has no folder {INVENTORY}/, so it's no infrastructure repository;"
            " `heliostat infra init DIR` makes one"
        )
    found = Findings()
    _check_private(repository, found)
    fleet = inventory.check(repository, found)
    _check_mirrors(repository, fleet, found)
    _check_trust(repository, found)
    _check_playbooks(repository, found)
    _run_if_there(repository, found, "yamllint", ["yamllint", "--strict", "."])
    _run_if_there(
        repository, found, "ansible-lint", ["ansible-lint", "--offline", "-q", "--nocolor"]
    )
    return found


def _check_private(repository: Path, found: Findings) -> None:
    topic = private.PRIVATE
    folder = repository / private.PRIVATE
    is_repository = (repository / ".git").exists()
    if is_repository and not _is_submodule(repository):
        found.bad(
            topic,
            f"{private.PRIVATE} is no submodule in what is committed here; secrets would be"
            " committed into the public part",
        )
        return
    if not (folder / ".git").exists():
        found.unchecked(
            topic,
            "private/ isn't here, so its history wasn't looked at (git submodule update --init"
            " private fetches it; no key is needed)",
        )
        return
    try:
        seen = history.plaintext(folder)
    except InfraError as error:
        found.bad(topic, str(error))
        return
    for fault in seen.faults:
        found.bad(topic, fault)
    if not seen.faults:
        found.ok(
            topic,
            f"nothing in plain text in {seen.commits} commits ({seen.blobs} versions of files)",
        )
    secrets = folder / private.SECRETS
    if not secrets.is_file():
        found.bad(topic, f"private/{private.SECRETS} isn't there; the playbooks need it")
    elif private.is_encrypted(secrets):
        found.unchecked("secrets", "private/ is locked, so what stands in it wasn't looked at")
    else:
        _check_secrets(repository, found)


def _check_secrets(repository: Path, found: Findings) -> None:
    """With the key: nothing of private/ may stand in the public part."""
    try:
        shown = leaks(repository)
    except InfraError as error:
        found.bad("secrets", str(error))
        return
    for leak in shown:
        found.bad("secrets", leak)
    if not shown:
        found.ok("secrets", "no secret of private/ stands anywhere in the public history")


def _is_submodule(repository: Path) -> bool:
    try:
        entry = git(repository, "ls-files", "--stage", "--", private.PRIVATE)
    except InfraError:
        return False
    return entry.startswith(history.GITLINK) and (repository / ".gitmodules").is_file()


def _check_mirrors(repository: Path, fleet: inventory.Fleet | None, found: Findings) -> None:
    folder = repository / MIRRORS
    if not folder.is_dir():
        found.bad(MIRRORS, f"there is no folder {MIRRORS}/; each mirror is a file in it")
        return
    if fleet is None:
        found.unchecked(MIRRORS, "the inventory, which names the trees, could not be read")
        return
    try:
        mirrors = read_mirror_files(folder, fleet.trees)
    except MirrorFilesError as error:
        for fault in error.faults:
            found.bad(MIRRORS, str(fault))
    except ConfigError as error:
        found.bad(MIRRORS, str(error))
    else:
        found.ok(MIRRORS, f"{len(mirrors)} mirrors")


def _check_trust(repository: Path, found: Findings) -> None:
    path = repository / TRUST
    try:
        with path.open("rb") as handle:
            raw = handle.read(MAX_ROOT_BYTES + 1)
    except OSError as error:
        found.bad("trust", f"{TRUST}: {error.strerror}; it is private/keys/root.json")
        return
    try:
        root = Metadata[Root].from_bytes(raw)
        root.verify_delegate("root", root)
    except (RepositoryError, ValueError, TypeError, KeyError, AttributeError) as error:
        found.bad("trust", f"{TRUST}: is no root that its own key signed ({error})")
        return
    lacking = [role for role in ONLINE_ROLES if not root.signed.roles[role].keyids]
    if lacking:
        found.bad("trust", f"{TRUST}: names no key for {', '.join(lacking)}")
        return
    ours = repository / private.PRIVATE / private.KEYS / "root.json"
    if ours.is_file() and not private.is_encrypted(ours) and ours.read_bytes() != raw:
        found.bad(
            "trust",
            f"{TRUST}: isn't private/{private.KEYS}/root.json; copy that one here, or new edges"
            " believe nothing",
        )
        return
    found.ok(
        "trust",
        f"root version {root.signed.version}, valid until {root.signed.expires:%Y-%m-%d}",
    )


def _check_playbooks(repository: Path, found: Findings) -> None:
    if shutil.which("ansible-playbook") is None:
        found.unchecked("playbooks", "Ansible isn't installed")
        return
    there = [f"{name}.yml" for name in PLAYBOOKS if (repository / f"{name}.yml").is_file()]
    if missing := [f"{name}.yml" for name in PLAYBOOKS if f"{name}.yml" not in there]:
        found.bad("playbooks", f"not there: {', '.join(missing)}")
    if there:
        _run_if_there(
            repository, found, "playbooks", ["ansible-playbook", "--syntax-check", *there]
        )


def _run_if_there(repository: Path, found: Findings, topic: str, command: list[str]) -> None:
    """One program of others; its words are the findings."""
    if shutil.which(command[0]) is None:
        found.unchecked(topic, f"{command[0]} isn't installed")
        return
    code, words = inventory.run_ansible(repository, command)
    if code == 0:
        found.ok(topic, f"{command[0]} finds no fault")
        return
    lines = [line.strip() for line in words.splitlines() if line.strip()]
    text = "; ".join(lines[:MAX_SHOWN_LINES])[: MAX_SHOWN_CHARS * 4]
    found.bad(topic, f"{command[0]}: {text or f'ended with {code}'}")
