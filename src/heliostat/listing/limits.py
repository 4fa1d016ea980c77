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
MAX_ROW_BYTES = 64 * 1024
"""From one link of an index page to the next; Caddy's rows with their icons have 2 KiB."""
MAX_SHOWN_BYTES = 512
"""Of a row that are compared to tell whether it changed, where no size is found in it."""
MAX_HEAD_BYTES = 64 * 1024
"""Of an index page in front of its first link; Caddy's style sheet has 8 KiB."""
MAX_FOLDERS = 1_000_000
"""Pages of one walk; the largest distribution has 300,000 folders."""
MAX_DEPTH = 64
"""Folders in one another. Deeper ones are symlinks in a circle, or made up by the server."""
BATCH_ENTRIES = 50_000
"""Entries of one folder that are held back until its page is whole, so that it can be read again;
larger folders are handed on in parts, and one of those that breaks off ends the listing."""
PAGE_TRIES = 3
RETRY_PAUSE_S = 0.5
MAX_RETRY_AFTER_S = 30.0
"""Longest wait that a busy server may ask for within a listing; longer ones end it."""
MIN_BYTES_PER_S = 4096
"""Slowest average of a page, once `timeout_s` has passed: a drip is no listing."""
MAX_REDIRECTS = 3
MAX_FTP_LINE_BYTES = 16 * 1024
"""One line of an FTP server's reply."""
MAX_FTP_REPLY_LINES = 1000
"""Of one reply: a message of the day can be long."""
