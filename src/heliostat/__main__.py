"""The `heliostat` command, also as `python -m heliostat`."""

from __future__ import annotations

import sys

EXIT_INTERRUPTED = 130


def main() -> None:
    """Runs the command line; Ctrl-C while it is still being imported is no fault either."""
    try:
        from heliostat.cli.main import main as run
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)
    run()


if __name__ == "__main__":
    main()
