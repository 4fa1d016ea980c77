"""A small static web server for machines without nginx: `python -m heliostat.demo.static`.

Arguments: DIR HOST PORT. Serves the folder with Range requests and listings until SIGTERM.
"""

from __future__ import annotations

import sys
from pathlib import Path

from aiohttp import web


def application(root: Path) -> web.Application:
    """The web application that serves the files under `root` (symlinks followed)."""
    app = web.Application()
    app.router.add_static("/", root, show_index=True, follow_symlinks=True)
    return app


def main(arguments: list[str]) -> int:
    if len(arguments) != 3:
        sys.stderr.write("usage: python -m heliostat.demo.static DIR HOST PORT\n")
        return 2
    root, host, port = arguments
    web.run_app(
        application(Path(root)), host=host, port=int(port), access_log=None, print=lambda _: None
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
