"""Tries again what may go better a moment later: busy providers, networks that hiccup."""

from __future__ import annotations

from typing import Final

import stamina

from heliostat.failover.errors import ThrottledError

ATTEMPTS: Final = 4
WAIT_FIRST_S: Final = 0.5
WAIT_MOST_S: Final = 8.0
ALL_S: Final = 60.0

# What is tried again is said when it fails for good; the library would print arguments.
stamina.instrumentation.set_on_retry_hooks(())

retried = stamina.retry(
    on=ThrottledError,
    attempts=ATTEMPTS,
    timeout=ALL_S,
    wait_initial=WAIT_FIRST_S,
    wait_max=WAIT_MOST_S,
)
"""Of a function that raises ThrottledError."""
