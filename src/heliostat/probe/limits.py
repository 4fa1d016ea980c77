"""Every bound of the probes, with its unit. What people may set stands in `[probe]` instead."""

from __future__ import annotations

MAX_REDIRECTS = 5
"""Hops from an endpoint's file to where its bytes are; real mirrors need one or two."""
MAX_HEADER_BYTES = 16 * 1024
SECOND_LOOK_PAUSE_S = 0.25
"""Between the first look that failed and the second, which decides."""
SAMPLES_KEPT = 8
"""Files remembered of a scan for liveness to ask for; each cycle asks for one or two of them."""
MAX_HEAD_FILES = 2000
"""Largest catalog that is scanned by one HEAD request a file."""
HEAD_FIRST_FILES = 200
"""Up to this size a catalog is asked for file by file before index pages are walked: that sees
what people who download see."""
MAX_HEAD_CHECKS = 20_000
"""Files in one scan whose exact size is asked for with HEAD, because an index page rounds it; the
others are asked for by the scans that follow."""
MAX_UNLISTED_FOLDERS = 1_000
"""Folders of a web server that give no index, and whose files are asked for one by one."""
PROGRESS_S = 1.0
"""Least time between two words on how far a scan is."""
BUSY_REST_S = 1.0
"""Rest after a 429 or 503 within a HEAD scan."""
METHOD_S = 86_400
"""How long a method that works is taken first, before the cheaper ones are tried again."""
SETTLED_S = 120
"""How long a folder's date must have been standing when it was read, to be believed later."""
RELIST_S = 86_400
"""A folder whose date doesn't change is read again after this time all the same."""
MAX_MEMORY_BYTES = 8 * 1024**2
"""Of what a scan leaves to the next, compressed; what is longer is cut to the method."""
MAX_MEMORY_JSON_BYTES = 64 * 1024**2
MAX_FAULTS_IN_A_ROW = 5
"""HEAD requests that get no answer, one after the other, before a scan is given up."""
MAX_UNCLEAR_SHARE = 0.1
"""Of a catalog's files may stay without a clear answer in a HEAD scan that counts as done."""
MAX_SYMLINKS = 200_000
MAX_LINK_HOPS = 40
"""As many as Linux follows (MAXSYMLINKS)."""
RSYNC_SILENCE_S = 300
"""Longest silence of an rsync server: a cold disk takes minutes to list a large module."""
MAX_ADDRESSES = 4
"""Addresses of a name that rsync tries, one after the other."""
TIME_SLACK_S = 2
"""Two clocks' rounding: FAT keeps even seconds, HTTP whole ones."""
EXAMPLES_KEPT = 3
"""Files of other sizes that are named in a scan's remark."""
