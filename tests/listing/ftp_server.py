"""A small FTP server that says what a test tells it to, and vsftpd over a folder."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from heliostat.demo.process import DemoError, ServerProcess, find_program

VSFTPD = """\
listen=YES
listen_address={address}
listen_port={port}
background=NO
anonymous_enable=YES
local_enable=NO
anon_root={root}
no_anon_password=YES
run_as_launching_user={launching}
secure_chroot_dir={empty}
seccomp_sandbox=NO
isolate=NO
isolate_network=NO
one_process_model={launching}
"""


class VsftpdServer(ServerProcess):
    """vsftpd, anonymous and read only; it has LIST, and no MLSD."""

    name = "vsftpd"

    def __init__(self, root: Path, address: str, port: int, work_dir: Path) -> None:
        super().__init__(address, port, work_dir.absolute())
        self.root = root.absolute()

    @property
    def url(self) -> str:
        return f"ftp://{self.address}:{self.port}/"

    def command(self) -> list[str]:
        program = find_program("vsftpd")
        if program is None:
            raise DemoError("vsftpd is not installed: apt-get install vsftpd")
        return [program, str(self.work_dir / "vsftpd.conf")]

    def write_files(self) -> None:
        empty = self.work_dir / "empty"
        empty.mkdir(exist_ok=True)
        empty.chmod(0o555)
        root_user = os.geteuid() == 0
        if root_user:  # it becomes nobody, who may not enter pytest's folders
            for folder in (self.root, *self.root.parents):
                if folder != Path("/"):
                    folder.chmod(folder.stat().st_mode | 0o011)
        text = VSFTPD.format(
            address=self.address,
            port=self.port,
            root=self.root,
            empty=empty,
            launching="NO" if root_user else "YES",
        )
        (self.work_dir / "vsftpd.conf").write_text(text)


@dataclass
class FakeFtp:
    """`folders` maps a path ("/", "/sub") to what MLSD or LIST says of it.

    `replies` are answers to commands in place of the usual ones (b"" ends the connection).
    """

    folders: Mapping[bytes, bytes]
    mlsd: bool = True
    epsv: bool = True
    end: bytes = b"226 done"
    pasv_address: str = "127,0,0,1"
    replies: Mapping[bytes, bytes] = field(default_factory=dict)
    greeting: bytes = b"220-hello\r\n220-220 is no end\r\n220 ready"
    commands: list[bytes] = field(default_factory=list)
    data_from: list[str] = field(default_factory=list)
    clients: list[asyncio.Task[None]] = field(default_factory=list)
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        server = await asyncio.start_server(self._client, "127.0.0.1", 0)
        try:
            async with server:
                yield f"ftp://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        finally:
            for writer in self.writers:
                writer.transport.abort()
                with suppress(OSError):
                    await writer.wait_closed()
            await asyncio.gather(*self.clients)

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.clients.append(task)
        self.writers.append(writer)
        with suppress(ConnectionError):
            await self._session(reader, writer)
        writer.close()

    async def _session(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        here = b"/"
        waiting: asyncio.Queue[asyncio.StreamWriter] = asyncio.Queue()

        async def data(_: asyncio.StreamReader, data_writer: asyncio.StreamWriter) -> None:
            self.data_from.append(data_writer.get_extra_info("peername")[0])
            self.writers.append(data_writer)
            waiting.put_nowait(data_writer)

        passive = await asyncio.start_server(data, "127.0.0.1", 0)
        port = passive.sockets[0].getsockname()[1]
        pasv = f"{self.pasv_address},{port // 256},{port % 256}".encode()
        async with passive:
            writer.write(self.greeting + b"\r\n")
            while line := (await reader.readline()).rstrip(b"\r\n"):
                self.commands.append(line)
                verb, _, argument = line.partition(b" ")
                if verb in self.replies:
                    if not self.replies[verb]:
                        return
                    writer.write(self.replies[verb] + b"\r\n")
                elif verb == b"USER":
                    writer.write(b"331 password\r\n")
                elif verb == b"PASS":
                    writer.write(b"230 welcome\r\n")
                elif verb == b"CWD":
                    there = b"/" + argument.strip(b"/")
                    here = there if there in self.folders else here
                    writer.write(b"250 ok\r\n" if here == there else b"550 no such folder\r\n")
                elif verb == b"EPSV" and self.epsv:
                    writer.write(b"229 Extended (|||%d|)\r\n" % port)
                elif verb == b"PASV":
                    writer.write(b"227 Passive (%b).\r\n" % pasv)
                elif verb == b"LIST" or (verb == b"MLSD" and self.mlsd):
                    writer.write(b"150 here\r\n")
                    sender = await waiting.get()
                    sender.write(self.folders[here])
                    await sender.drain()
                    sender.close()
                    writer.write(self.end + b"\r\n")
                else:
                    if verb == b"MLSD":
                        (await waiting.get()).close()
                    writer.write(b"200 ok\r\n" if verb in (b"TYPE", b"QUIT") else b"500 what?\r\n")
                await writer.drain()
