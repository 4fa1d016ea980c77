"""Between file ids (what holdings are made of) and rows of a catalog (what arrays are made of)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pyroaring import BitMap


def rows_of(file_ids: NDArray[np.uint32], wanted: BitMap) -> NDArray[np.bool_]:
    """For each row of a catalog with these `file_ids`: is its id among `wanted`?"""
    top = int(file_ids.max(initial=0)) + 1
    by_id = np.zeros(top, dtype=np.bool_)
    ids = np.frombuffer(wanted.to_array(), dtype=np.uint32)
    by_id[ids[ids < top]] = True
    found: NDArray[np.bool_] = by_id[file_ids]
    return found
