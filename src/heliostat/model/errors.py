"""The root of every error that is meant for a person, and its exit code.

Each room has one root of its own below this; the message of an error says what is wrong, where,
and what to do next, so that the command line can print it as it is.
"""

from __future__ import annotations

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_REFUSED = 3


class HeliostatError(Exception):
    """Something a person can mend; the message is what they read."""

    exit_code = EXIT_FAILED


class UsageFaultError(HeliostatError):
    """What was asked for can't be meant so; the message says how to ask."""

    exit_code = EXIT_USAGE


class RefusedError(HeliostatError):
    """A safety rule says no; the message says which and how to go on all the same."""

    exit_code = EXIT_REFUSED
