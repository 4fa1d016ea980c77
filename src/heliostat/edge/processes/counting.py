"""What the steward counts with, by the settings."""

from __future__ import annotations

import socket
import time
from pathlib import Path
from typing import Final

from heliostat.config.schema import EdgeSection
from heliostat.edge.counts.accesslog import AccessLog
from heliostat.edge.counts.collector import Collector
from heliostat.edge.counts.spool import Spool

SPOOL_FOLDER: Final = "spool"


def make_collector(section: EdgeSection, folder: Path) -> Collector:
    """A collector that writes below `folder`; only one at a time may be open there."""
    access_log = None
    if section.access_log is not None:
        access_log = AccessLog(
            section.access_log,
            is_json=section.access_log_format == "json",
            is_truncated=section.access_log_addresses == "truncated",
        )
    return Collector(
        socket.gethostname(),
        Spool(folder / SPOOL_FOLDER, section.spool_max_bytes, clock=time.monotonic),
        access_log,
        clock=time.time,
        monotonic=time.monotonic,
    )
