"""Every limit of the edge, with its name, its unit and its reason."""

from __future__ import annotations

import resource
from typing import Final

REQUEST_LINE_BYTES: Final = 8 * 1024
"""Longest request target; longer is 414. Paths are up to 4096 bytes, three times that encoded."""

HEADERS_BYTES: Final = 16 * 1024
"""All header fields of one request; more is 431."""

HEADERS_COUNT: Final = 100
"""Header fields of one request; more is 431."""

HEADERS_TIME_S: Final = 10.0
"""From the first byte of a request to the end of its header; slower is closed."""

BODY_TIME_S: Final = 10.0
"""From there to the end of its body, which is thrown away."""

IDLE_TIME_S: Final = 60.0
"""A kept connection without a request is closed after this."""

REQUESTS_PER_CONNECTION: Final = 1_000
"""Then the connection is closed, so that clients spread again after a restart."""

PIPELINED_A_TURN: Final = 1
"""Requests of one pipeline that are answered before other connections have their turn: few, so
that hundreds of pipelines together delay a good client by milliseconds."""

LINGER_TIME_S: Final = 2.0
"""After a refusal: so long is what a client still sends read and thrown away."""

LINGER_BYTES: Final = 256 * 1024
"""The same, as an amount."""

BODY_BYTES: Final = 16 * 1024
"""A body on GET is read and thrown away up to this; more closes the connection."""

CONNECTIONS: Final = 20_000
"""Open connections of one worker; more get a quick 503. See `connections`."""

CONNECTIONS_PER_NETWORK: Final = 256
"""Open connections of one client network (/24 or /48); more get a quick 503."""

SPARE_DESCRIPTORS: Final = 2_048
"""Kept free of connections: a state of 3,000,000 files holds 400 to 800, two during a swap."""

EXPLAINS_PER_S: Final = 50
"""`/-/explain/` answers a second; it costs a hundred redirects, and is for people."""

STATE_BODY_BYTES: Final = 64 * 1024
"""Files of `/-/state/` up to this are sent at once; longer ones piece by piece."""

STATE_STREAMS: Final = 4
"""Longer files of the state that one worker sends to strangers at the same time."""

STATE_STREAMS_PEERS: Final = 32
"""The same for other nodes."""

WORK_WAITING: Final = 64
"""Answers made beside the loop that may wait for their turn in one worker; more get a 503."""

WORK_TIME_S: Final = 20.0
"""Longest wait for an answer made beside the loop; then the connection is closed."""

ORDERS_REMEMBERED: Final = 30_000
"""Orders of mirrors whose metalink elements are kept; about 0.4 kB each."""

METALINK_LINES: Final = 20_000
"""Request lines of metalinks whose file is remembered; about 0.4 kB each."""

INLINE_PIECES: Final = 400
"""Pieces of a file whose metalink is made at once (0.1 ms); of longer ones beside the loop."""

CONTENT_BYTES: Final = 16 * 1024 * 1024
"""Representations that one worker keeps ready."""

CONTENT_ENTRY_BYTES: Final = 2 * 1024 * 1024
"""Larger ones are made each time."""

CONTENT_AGE_S: Final = 60
"""How long clients may keep what depends on the state."""

PAGE_ENTRIES: Final = 1_000
"""Entries of a folder on one page."""

FOLDERS_ABOVE: Final = 6
"""Folders above a missing path that are looked for, to show the way."""

SUMS_FILES: Final = 50_000
"""Files of a folder that has a list of checksums."""

MARKERS: Final = 64
"""Files that together say whether a mirror holds a folder."""

FOLDER_FILES: Final = 1_000_000
"""Files below a folder that are looked through for the mirrors that hold it."""

LIST_SOURCES: Final = 100
"""Mirrors on one list."""

QUERY_FIELDS: Final = 20
"""Fields of a query that are read."""

FORWARDED_FOR_BYTES: Final = 1024
"""Longest X-Forwarded-For that is looked at, from its end."""

CLIENTS_REMEMBERED: Final = 4_096
"""Addresses behind trusted proxies whose zone is remembered beside their header blocks."""

BLOCKS_REMEMBERED: Final = 65_536
"""Header blocks whose meaning is remembered, by all workers together; 0.4 kB each as a rule."""

BLOCK_BYTES: Final = 512
"""Longer header blocks (browsers with cookies) are parsed each time."""

FILES_REMEMBERED: Final = 131_072
"""Files whose place in the state is remembered by their request line, by all workers together;
about 0.5 kB each."""

LINE_BYTES: Final = 512
"""Longer request lines are looked up each time."""

LANES_REMEMBERED: Final = 30_000
"""Zones (times families and schemes) whose ways are remembered; about 1 kB each."""

ROW_BYTES: Final = 16 * 1024 * 1024
"""Of a worker, for each zone in use a byte for each class of files (a tree and a fileset)."""

PREPARED_REMEMBERED: Final = 50_000
"""Rows (classes of requests with the same candidates) whose redirects are kept ready."""

PARTS_REMEMBERED: Final = 50_000
"""Parts of redirects (a mirror's URL between two header fields); each about 0.2 kB."""

CARRY_TIME_S: Final = 1.5
"""Longest time for taking over what is remembered into a new state, before it is served by."""

REPEAT_SLOTS: Final = 1 << 19
"""Requests remembered to know a repeat by, of all workers; 8 bytes each (4 MiB)."""

REPEAT_TIME_S: Final = 60.0
"""A request for the same file by the same client within this is a repeat."""

LINKS: Final = 5
"""`Link: rel=duplicate` fields on a redirect."""


def raise_descriptor_limit() -> None:
    """Lets this process open as many files as the system allows it (RLIMIT_NOFILE)."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def connections() -> int:
    """CONNECTIONS, or what the descriptors of this process leave for them."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return CONNECTIONS
    return min(CONNECTIONS, max(soft // 2, soft - SPARE_DESCRIPTORS))


NEGOTIATED_BYTES = 1024
"""Of Accept, Accept-Encoding and If-None-Match; a longer field counts as none."""
