"""The configuration's file, data_dir, and the disk it is on."""

from __future__ import annotations

import os
import pwd
import stat
from pathlib import Path
from typing import Final

from heliostat.doctor.finding import Finding, bad, ok, warn
from heliostat.doctor.patient import Patient, in_thread

LEAST_FREE_BYTES: Final = 200 << 20
"""Below this a new state may not find room beside the one that is held."""
LOW_FREE_BYTES: Final = 2 << 30
LOW_SHARE: Final = 0.10
LEAST_SHARE: Final = 0.02
LEAST_INODES: Final = 1_000


async def configuration(patient: Patient) -> list[Finding]:
    """Who may read the file, which has secrets in it."""
    topic, path, config = "configuration", patient.loaded.path, patient.config
    has = (("a manager", patient.is_manager), ("an edge", patient.is_edge))
    parts = " and ".join(name for name, is_so in has if is_so)
    secrets = config.edge.report_token or config.dns.api_key or config.dns.tsig_key
    try:
        mode = path.stat().st_mode
    except OSError as error:
        return [bad(topic, f"{path}: {error.strerror}", "look at the folder's permissions")]
    if secrets and mode & stat.S_IROTH:
        return [
            warn(
                topic,
                f"{path} has secrets in it, and everybody on this machine may read it",
                f"chmod 0640 {path}, with the service's group",
            )
        ]
    return [ok(topic, f"{path} makes this {parts}")]


async def data_folder(patient: Patient) -> list[Finding]:
    topic, folder = "data_dir", patient.loaded.data_dir
    try:
        facts = folder.stat()
    except FileNotFoundError:
        return [warn(topic, f"{folder} isn't there yet", "the service makes it at its first start")]
    except OSError as error:
        return [bad(topic, f"{folder}: {error.strerror}", "look at the folder's permissions")]
    owner = _name_of(facts.st_uid)
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        return [
            bad(
                topic,
                f"{folder} belongs to {owner}; {_name_of(os.geteuid())} can't write into it",
                f"run this as {owner}: runuser -u {owner} -- heliostat doctor",
            )
        ]
    if foreign := _foreign(folder, facts.st_uid):
        return [
            bad(
                topic,
                f"{foreign} doesn't belong to {owner}, as {folder} does; services fail on it",
                f"chown -R {owner} {folder}",
            )
        ]
    return [ok(topic, f"{folder} belongs to {owner} and can be written")]


def _foreign(folder: Path, owner: int) -> Path | None:
    """The first thing directly in the folder that belongs to somebody else, as root leaves it."""
    for path in sorted(folder.iterdir())[:1_000]:
        if path.lstat().st_uid != owner:
            return path
    return None


def _name_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


async def disk(patient: Patient) -> list[Finding]:
    folder = patient.loaded.data_dir
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return await in_thread(lambda: _disk(folder))


def _disk(folder: Path) -> list[Finding]:
    topic = "disk"
    facts = os.statvfs(folder)
    free, whole = facts.f_bavail * facts.f_frsize, facts.f_blocks * facts.f_frsize
    said = f"{free / 1e9:,.1f} of {whole / 1e9:,.1f} GB are free for {folder}"
    todo = "make room, or move data_dir; runbook disk-full"
    if facts.f_files and facts.f_favail < LEAST_INODES:
        return [bad(topic, f"{facts.f_favail} inodes are left for {folder}", todo)]
    if facts.f_flag & os.ST_RDONLY:
        return [bad(topic, f"{folder} is mounted read-only", "mount it for writing; look at dmesg")]
    share = free / whole if whole else 1.0
    if free < LEAST_FREE_BYTES or (share < LEAST_SHARE and free < LOW_FREE_BYTES):
        return [bad(topic, f"{said}: a new state may not fit", todo)]
    if free < LOW_FREE_BYTES and share < LOW_SHARE:
        return [warn(topic, said, todo)]
    return [ok(topic, said)]
