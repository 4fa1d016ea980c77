"""What the manager's answer to a node says of allowances; everything in it is bounded.

The other half is `heliostat.manager.budgets.form`, which an edge doesn't import.
"""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

MAX_MIRRORS: Final = 1_000
"""With a budget; an answer that names more is refused."""
MAX_BYTES: Final = 1 << 62
MAX_ANSWER_BYTES: Final = 1024 * 1024
"""Of the manager's answer: MAX_MIRRORS allowances, and names as long as they may be."""

Bytes = Annotated[int, Field(ge=0, le=MAX_BYTES)]
Epoch = Annotated[int, Field(ge=1, lt=1 << 53)]
Name = Annotated[str, Field(min_length=1, max_length=255)]
UnixTime = Annotated[float, Field(ge=0, le=1e11)]


class Allowance(BaseModel):
    """What a purse may take of one budget: cumulative sums, which only grow in an epoch."""

    model_config = ConfigDict(extra="ignore", strict=True, frozen=True)

    mirror: Name
    epoch: Epoch
    purse: Annotated[str, Field(min_length=1, max_length=64)]
    general: Bytes
    """For any file."""
    reserve: Bytes
    """For files that no mirror without a budget can serve."""
    ends_s: UnixTime | None = None
    """Unix time at which the budget's period ends: nothing is taken of it any more."""


class _Answer(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True)

    allowances: Annotated[list[Allowance], Field(max_length=MAX_MIRRORS)] = []


def read_allowances(text: str) -> list[Allowance]:
    """The allowances of an answer.

    Raises:
        ValueError: it is not of this form; none of it counts.
    """
    try:
        return _Answer.model_validate_json(text).allowances
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "the answer"
        raise ValueError(f"{where}: {first['msg']}") from None
