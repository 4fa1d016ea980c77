"""Pictures of every page, to look at: phone and desktop, light and dark.

    .venv/bin/python -m tests.edge.pages.shots FOLDER

Needs chromium. What looks wrong on them no other test says.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from tests.edge.pages.samples import all_pages

SCREENS_PX = {"phone": (390, 2600), "desktop": (1200, 2000)}
SCHEMES = {"dark": 0, "light": 1}
"""Chromium's numbers of what prefers-color-scheme is to be."""
TIMEOUT_S = 60


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        for name, text in all_pages().items():
            page = Path(scratch) / f"{name}.html"
            page.write_bytes(text.encode())
            for screen, (width_px, height_px) in SCREENS_PX.items():
                for scheme, number in SCHEMES.items():
                    picture = folder / f"{name}-{screen}-{scheme}.png"
                    shoot(page, picture, f"{width_px},{height_px}", number)
                    print(picture)


def shoot(page: Path, picture: Path, window_px: str, scheme: int) -> None:
    subprocess.run(
        [
            *("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"),
            f"--blink-settings=preferredColorScheme={scheme}",
            *(f"--window-size={window_px}", f"--screenshot={picture}", page.as_uri()),
        ],
        check=True,
        capture_output=True,
        timeout=TIMEOUT_S,
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute())
