"""What node and manager say to each other of allowances; everything in it is bounded."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

MAX_TAKEN: Final = 10_000
"""Of one node: mirrors with a budget, times a few epochs and two parts."""
MAX_BYTES: Final = 1 << 62

Bytes = Annotated[int, Field(ge=0, le=MAX_BYTES)]
Epoch = Annotated[int, Field(ge=1, lt=1 << 53)]
Name = Annotated[str, Field(min_length=1, max_length=255)]


class Taken(BaseModel):
    """What a node's purse took of one allowance, cumulative."""

    model_config = ConfigDict(extra="ignore", strict=True)

    mirror: Name
    epoch: Epoch
    part: Literal["general", "reserve"]
    taken: Bytes


class AllowanceAnswer(BaseModel):
    """What a purse may take of one budget, cumulative in its epoch."""

    model_config = ConfigDict(extra="ignore", strict=True)

    mirror: Name
    epoch: Epoch
    purse: Annotated[str, Field(min_length=1, max_length=64)]
    general: Bytes
    reserve: Bytes
    ends_s: Annotated[float, Field(ge=0, le=1e11)] | None = None
    """Unix time at which the period ends: nothing is taken of it any more."""
