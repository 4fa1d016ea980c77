"""What systemd is told, and what it hands over: sd_notify(3) and sd_listen_fds(3).

Without systemd (no NOTIFY_SOCKET, no LISTEN_FDS) nothing happens.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import MutableMapping
from typing import Final

from heliostat.edge.processes.listeners import Listener, format_address

FIRST_FD: Final = 3
"""SD_LISTEN_FDS_START."""


class Notifier:
    """Tells the service manager how we are."""

    def __init__(self, environ: MutableMapping[str, str]) -> None:
        address = environ.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self.watchdog_s = 0.0
        """Between two signs of life; 0 when none are wanted."""
        usec, pid = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", "")
        if usec.isdecimal() and (not pid or pid == str(os.getpid())):
            self.watchdog_s = int(usec) / 1e6 / 2

    def tell(self, **state: str | int) -> None:
        """Sends KEY=VALUE lines; never raises: nobody may be listening."""
        if not self._address:
            return
        text = "\n".join(f"{key}={value}" for key, value in state.items())
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as link:
            link.setblocking(False)
            link.sendto(text.encode(), self._address)

    def ready(self, status: str) -> None:
        """Serving; also after a takeover, when we are the service's new main process."""
        self.tell(READY=1, MAINPID=os.getpid(), STATUS=status)

    def reloading(self) -> None:
        usec = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self.tell(RELOADING=1, MONOTONIC_USEC=usec)

    def stopping(self, status: str) -> None:
        self.tell(STOPPING=1, STATUS=status)

    def alive(self) -> None:
        self.tell(WATCHDOG=1)


def inherited(environ: MutableMapping[str, str]) -> list[Listener]:
    """The listening sockets that systemd opened for this process; asked for once.

    What isn't a listening TCP socket is left alone.
    """
    count, pid = environ.pop("LISTEN_FDS", ""), environ.pop("LISTEN_PID", "")
    environ.pop("LISTEN_FDNAMES", None)
    if not count.isdecimal() or pid != str(os.getpid()):
        return []
    found = []
    for handle in range(FIRST_FD, FIRST_FD + int(count)):
        with contextlib.suppress(OSError):
            os.set_inheritable(handle, False)
            sock = socket.socket(fileno=handle)
            is_tcp = sock.family in (socket.AF_INET, socket.AF_INET6)
            if is_tcp and sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                sock.setblocking(False)
                found.append(Listener(format_address(sock), sock))
            else:
                sock.detach()
    return found
