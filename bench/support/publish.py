"""New states of the same world without compiling: one mirror goes out, another comes back."""

from __future__ import annotations

import itertools
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from heliostat.state.documents import MirrorsDocument, parse
from heliostat.state.keys import KEYS_FOLDER, KeyFolder
from heliostat.state.sign import sign
from heliostat.state.store import StateStore

ROLE = "mirrors"


class Publisher:
    """Publishes into a folder of states; each state differs from the first by one mirror."""

    def __init__(self, folder: Path) -> None:
        self.store = StateStore(folder)
        self.keys = KeyFolder(folder.parent / KEYS_FOLDER)
        manifest = self.store.manifest()
        file = manifest.files[ROLE]
        self.first = manifest
        self.document = parse(
            MirrorsDocument, self.store.path_of(file).read_bytes(), file.disk_name
        )
        self._turn = itertools.cycle(range(len(self.document.mirrors)))

    def publish(self) -> int:
        """The version of the state that is published now."""
        out = next(self._turn)
        mirrors = list(self.document.mirrors)
        mirrors[out] = mirrors[out].model_copy(update={"why_out": "out for a benchmark"})
        document = self.document.model_copy(update={"mirrors": mirrors})
        with self.store.writing():
            file = self.store.put(ROLE, document.to_bytes())
            version = max(int(time.time()), self.store.version() + 1)
            counts = {**self.first.counts, "mirrors": self.first.counts["mirrors"] - 1}
            files = {**self.first.files, ROLE: file}
            manifest = replace(
                self.first,
                version=version,
                published_at=datetime.now(UTC),
                files=files,
                counts=counts,
            )
            self.store.commit(sign(manifest, self.keys))
        return version
