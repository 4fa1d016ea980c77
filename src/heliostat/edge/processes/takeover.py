"""How listening descriptors go from one process to another, so that no connection is refused.

Who has them offers them on a Unix socket in the run folder: a supervisor, for `--replace`; each
worker, for the day its supervisor was killed. Who wants them asks `{"take": true}`, is sent the
addresses with the descriptors (SCM_RIGHTS, unix(7)), starts its own workers, and when those serve
says `{"finish": true}`. Until then nothing has changed for the one that offers.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from heliostat.edge.processes.errors import TakeoverError
from heliostat.edge.processes.listeners import Listener
from heliostat.edge.processes.rundir import RunFolder

FDS_A_MESSAGE: Final = 200
"""Linux passes 253 at most (SCM_MAX_FD)."""

MESSAGE_BYTES: Final = 64 * 1024
LINKS_AT_ONCE: Final = 16


class Offer:
    """The side that has descriptors. Nothing here waits: `fileno`s go to the owner's own loop."""

    def __init__(
        self,
        listener: socket.socket,
        listeners: Callable[[], Sequence[Listener]],
        on_finish: Callable[[], None],
    ) -> None:
        self.listener = listener
        self.links: list[socket.socket] = []
        self._listeners = listeners
        self._on_finish = on_finish

    def accept(self) -> socket.socket | None:
        """Somebody who asks; the owner calls `answer` when there is something to read."""
        try:
            link, _ = self.listener.accept()
        except OSError:
            return None
        if len(self.links) >= LINKS_AT_ONCE:
            link.close()
            return None
        link.setblocking(False)
        self.links.append(link)
        return link

    def answer(self, link: socket.socket) -> bool:
        """Answers one message; False when the link is at its end, and closed."""
        try:
            raw = link.recv(MESSAGE_BYTES)
            if not raw:
                raise ConnectionResetError
            message = json.loads(raw)
            if message.get("take"):
                self._give(link)
            if message.get("finish"):
                self._on_finish()
                link.send(json.dumps({"finishing": True}).encode())
        except BlockingIOError:
            return True
        except (OSError, ValueError, AttributeError):
            self.drop(link)
            return False
        return True

    def drop(self, link: socket.socket) -> None:
        if link in self.links:
            self.links.remove(link)
        link.close()

    def close(self) -> None:
        for link in [*self.links]:
            self.drop(link)
        self.listener.close()

    def _give(self, link: socket.socket) -> None:
        held = list(self._listeners())
        for start in range(0, max(len(held), 1), FDS_A_MESSAGE):
            part = held[start : start + FDS_A_MESSAGE]
            message = {
                "pid": os.getpid(),
                "addresses": [listener.address for listener in part],
                "more": start + FDS_A_MESSAGE < len(held),
            }
            socket.send_fds(
                link, [json.dumps(message).encode()], [listener.sock.fileno() for listener in part]
            )


class Predecessor:
    """The side that takes. `name` is a socket in the run folder.

    Raises:
        FileNotFoundError, ConnectionRefusedError: nobody is there.
        TakeoverError: whoever is there doesn't answer as it should.
    """

    def __init__(self, run: RunFolder, name: str) -> None:
        self.name = name
        self.pid = 0
        self._link = run.connect(name)

    def take(self) -> list[Listener]:
        """Its descriptors; it keeps its own.

        Raises:
            TakeoverError: it doesn't answer as it should.
        """
        found: list[Listener] = []
        try:
            self._link.send(json.dumps({"take": True}).encode())
            while True:
                raw, fds, _, _ = socket.recv_fds(self._link, MESSAGE_BYTES, FDS_A_MESSAGE)
                sockets = [socket.socket(fileno=fd) for fd in fds]
                found += self._named(raw, sockets)
                if not json.loads(raw).get("more"):
                    return found
        except (OSError, ValueError, KeyError, TypeError) as error:
            for listener in found:
                listener.sock.close()
            raise TakeoverError(
                f"the running edge doesn't hand over its ports ({error}); stop it, then start anew"
            ) from None

    def _named(self, raw: bytes, sockets: Iterable[socket.socket]) -> list[Listener]:
        message: dict[str, Any] = json.loads(raw)
        self.pid = int(message["pid"])
        found = []
        for address, sock in zip(message["addresses"], sockets, strict=True):
            os.set_inheritable(sock.fileno(), False)
            sock.setblocking(False)
            found.append(Listener(str(address), sock))
        return found

    def finish(self) -> bool:
        """Tells it to accept no more and end; False when it is gone already."""
        with contextlib.suppress(OSError):
            self._link.send(json.dumps({"finish": True}).encode())
            return bool(self._link.recv(MESSAGE_BYTES))
        return False

    def close(self) -> None:
        self._link.close()
