"""stub until counts lands"""

from __future__ import annotations

NOT_DOWNLOAD = 1 << 15


def tag_of(zone: int, mirror: int) -> int:
    return zone << 16 | mirror


class Tally:
    def __init__(self) -> None:
        self.files: list[int] = []
        self.tags: list[int] = []
        self.block_misses = 0
        self.file_misses = 0

    def decided(self, seconds: float) -> None:
        pass
