"""Bounds of jobs and leases, with their units."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

HEARTBEAT_S: Final = 5.0
LEASE: Final = timedelta(seconds=30)
"""A worker that was not heard of for this long has lost its job: six heartbeats."""
POLL_S: Final = 1.0
"""Between two looks of an idle worker for work."""
MAX_LOSSES: Final = 5
"""A job that silenced this many workers isn't given to another."""
FINISHED_KEPT: Final = timedelta(days=2)
WORKERS_KEPT: Final = timedelta(days=1)
AGAIN_AFTER: Final = timedelta(seconds=60)
"""A scan in doubt, or wrong bytes: looked at again after this."""
STOP_S: Final = 8.0
"""A worker that is told to stop gives its jobs back within this."""
MAX_REASON_CHARS: Final = 1000
CHUNK_BYTES: Final = 4 * 1024 * 1024
"""Of a catalog's copy in the database."""
MAX_COPY_BYTES: Final = 4 * 1024**3
"""A larger catalog isn't copied: workers elsewhere need it by other means."""
