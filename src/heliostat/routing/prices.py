"""The price of a slow line, in milliseconds: what downloaders complain of is throughput.

Theory: 750 MB in a quarter of an hour are 0.83 MB/s. A line of RATE_ENOUGH or more costs nothing;
each halving below costs HALVING_MS, which is what 1,250 km more of distance would. So a mirror of
0.5 MB/s is left for one of a fast line up to 3,750 km farther.
"""

from __future__ import annotations

import math
from typing import Final

RATE_ENOUGH_BYTES_PER_S: Final = 4_000_000.0
HALVING_MS: Final = 20.0
MOST_MS: Final = 200.0
"""A mirror that is this slow is only used where there is no other."""


def line_price_ms(rate_bytes_per_s: float | None) -> float:
    """The price of a line of that rate; 0 when it isn't known."""
    if rate_bytes_per_s is None or rate_bytes_per_s >= RATE_ENOUGH_BYTES_PER_S:
        return 0.0
    halvings = math.log2(RATE_ENOUGH_BYTES_PER_S / max(rate_bytes_per_s, 1.0))
    return round(min(MOST_MS, HALVING_MS * halvings), 1)
