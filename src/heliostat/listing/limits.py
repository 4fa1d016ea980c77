"""Every bound of the listings, with its unit. What people may set stands in `[probe]` instead."""

from __future__ import annotations

MAX_LISTING_BYTES = 4 * 1024**3
MAX_LISTING_ENTRIES = 20_000_000
"""Of one listing, in all its folders; the largest distribution has 3,000,000 files."""
MAX_LINE_BYTES = 64 * 1024
"""One entry: a path of 4096 bytes and a link's target, each byte possibly escaped fourfold."""
MAX_PATH_BYTES = 4096
"""As long as Linux opens one (PATH_MAX)."""
MAX_NAME_BYTES = 1024
"""Of one name on an index page; file systems end at 255 bytes or 255 characters."""
MAX_STDERR_BYTES = 16 * 1024
READ_BYTES = 64 * 1024
MAX_DAYS_REMEMBERED = 100_000
"""Different dates of a listing whose time is computed once only."""
