"""A zoo of misbehaving mirrors: real servers on loopback, one file each.

Each test shows three things: that nobody is sent wrongly for longer than one period of the probe
that can see the fault, which event was recorded, and that the mirror comes back by itself when it
is mended.
"""

from __future__ import annotations

from heliostat.manager import settings
from heliostat.manager.setup import start_django

start_django(settings.DATABASES["default"])  # before anything here imports models
