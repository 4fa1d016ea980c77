"""Logs of the long-running commands: lines for people on a terminal, JSON when piped."""

from __future__ import annotations

import logging
import sys

import structlog


def setup_logs(*, debug: bool, quiet: bool) -> None:
    """Sends structlog's lines to standard error."""
    level = logging.DEBUG if debug else logging.WARNING if quiet else logging.INFO
    terminal = sys.stderr.isatty()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.dev.ConsoleRenderer() if terminal else structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
