"""The state: held, signed by who may, new enough; and whether its sources answer."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, Timestamp

from heliostat.doctor.finding import Finding, bad, ok, skipped, warn
from heliostat.doctor.patient import Patient, in_thread
from heliostat.edge.processes.remarks import STATE_ALARM_S, STATE_OLD_S
from heliostat.model.errors import HeliostatError
from heliostat.state.errors import NoStateError
from heliostat.state.keys import MAX_ROOT_BYTES
from heliostat.state.sources import source_of
from heliostat.state.store import HELD_FOLDER, PUBLISHED_FOLDER
from heliostat.state.trust import verified_manifest

RUNBOOK: Final = "runbook state-old"
SOURCE_S: Final = 4.0


async def held(patient: Patient) -> list[Finding]:
    """What the edge serves on."""
    folder = patient.loaded.data_dir / HELD_FOLDER
    return await in_thread(lambda: _judge("state", folder, patient.config.edge.root, patient))


async def published(patient: Patient) -> list[Finding]:
    """What the manager gives out."""
    folder = patient.loaded.data_dir / PUBLISHED_FOLDER
    return await in_thread(lambda: _judge("published state", folder, None, patient))


def _judge(topic: str, folder: Path, root: Path | None, patient: Patient) -> list[Finding]:
    if root is not None and not root.is_file():
        return [
            bad(
                topic,
                f"{root}, the root of trust, isn't there: no new state is believed",
                "copy it from the manager: data_dir/keys/root.json",
            )
        ]
    try:
        anchor = root.read_bytes()[:MAX_ROOT_BYTES] if root is not None else None
        manifest = verified_manifest(folder, anchor)
    except NoStateError:
        return [bad(topic, f"there is none in {folder}", f"see the sources; {RUNBOOK}")]
    except (HeliostatError, OSError, RepositoryError, ValueError) as error:
        return [bad(topic, str(error), f"runbook state-old; {root or folder}")]
    by = f", signed under {root}" if root is not None else ", its signatures are right"
    age_s = (patient.now() - manifest.published_at).total_seconds()
    age = f"{age_s / 86400:.1f} days" if age_s > 86400 else f"{max(0, age_s) / 3600:.1f} hours"
    said = f"number {manifest.version}, {age} old{by}"
    if age_s > STATE_ALARM_S:
        return [bad(topic, said, f"see why the manager doesn't publish; {RUNBOOK}")]
    if age_s > STATE_OLD_S:
        return [warn(topic, said, f"see whether the manager publishes; {RUNBOOK}")]
    return [ok(topic, said)]


async def sources(patient: Patient) -> list[Finding]:
    """Each place that states come from."""
    topic, section = "sources", patient.config.edge
    if not section.sources:
        return [skipped(topic, "states come from data_dir on this machine")]
    return list(
        await asyncio.gather(*(_source(where, section.source_ca) for where in section.sources))
    )


async def _source(where: str, ca: Path | None) -> Finding:
    def ask() -> int:
        raw = source_of(where, ca).timestamp()
        return Metadata[Timestamp].from_bytes(raw).signed.version if raw else 0

    todo = f"one source is enough; {RUNBOOK}"
    try:
        async with asyncio.timeout(SOURCE_S):
            version = await in_thread(ask)
    except TimeoutError:
        return warn("sources", f"{where} doesn't answer within {SOURCE_S:g} s", todo)
    except (HeliostatError, RepositoryError, ValueError, OSError) as error:
        return warn("sources", str(error), todo)
    return ok("sources", f"{where} offers state {version}")
