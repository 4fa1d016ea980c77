"""The supervisor's line to one child: small JSON messages, each whole or not at all.

A SOCK_SEQPACKET pair: the kernel keeps the bounds of messages, and the end of one process is seen
by the other at once. Nothing here waits.

| to a child | says |
| --- | --- |
| `{"draining": bool}` | health answers 503, all else is served on |
| `{"finish": WORD, "gone": [ADDRESS]}` | see `worker.Finish`; what nobody serves any more |
| `{"restarts": N}` | to the steward: children that were started again so far |

| from a child | says |
| --- | --- |
| `{"ready": VERSION}` | it serves (a worker), or it does its work (the steward) |
| `{"alive": true}` | once a second |
"""

from __future__ import annotations

import json
import socket
from typing import Any, Final

MESSAGE_BYTES: Final = 4096
Message = dict[str, Any]


class Channel:
    """One end."""

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)
        self._end = end

    def fileno(self) -> int:
        return self._end.fileno()

    def send(self, message: Message) -> bool:
        """False when the other end is gone, or hasn't read for very long."""
        try:
            self._end.send(json.dumps(message).encode())
        except OSError:
            return False
        return True

    def receive(self) -> list[Message] | None:
        """What has come in; None once the other end is gone."""
        found: list[Message] = []
        while True:
            try:
                raw = self._end.recv(MESSAGE_BYTES)
            except BlockingIOError:
                return found
            except OSError:
                return found or None
            if not raw:
                return found or None
            try:
                message = json.loads(raw)
            except ValueError:
                continue
            if isinstance(message, dict):
                found.append(message)

    def close(self) -> None:
        self._end.close()


def channel() -> tuple[Channel, Channel]:
    """Both ends of a new line."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    return Channel(ours), Channel(theirs)
