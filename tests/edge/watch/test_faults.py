"""What takes a line out, and what doesn't: real servers that answer badly, or not at all."""

from __future__ import annotations

import asyncio
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from tests.edge.watch.stage import (
    FAST,
    Reply,
    head,
    make_certificates,
    mirror_process,
    names,
    served,
    target,
    watching,
)

OUT = ("m", "http", 4)
RANGE = "Content-Range: bytes 0-0/1000"


async def test_a_killed_server_is_out_and_comes_back_after_three_successes(tmp_path: Path) -> None:
    with mirror_process(tmp_path) as mirror:
        await mirror.start()
        async with (
            served(lambda *_: head(), "127.0.0.2") as good,
            watching(target("m", mirror.base), target("other", good.base)) as running,
        ):
            await running.looked("m", 2)
            assert running.down == set()
            mirror.kill()
            await running.down_is(OUT)
            assert "can't connect" in running.fault("m")
            before = running.looks("m")
            await mirror.start()
            await running.down_is()
            assert running.looks("m") - before >= 3


async def test_a_stopped_server_that_accepts_and_says_nothing_is_out(tmp_path: Path) -> None:
    with mirror_process(tmp_path) as mirror:
        await mirror.start()
        async with watching(target("m", mirror.base)) as running:
            await running.looked("m", 2)
            mirror.signal(signal.SIGSTOP)
            await running.down_is(OUT)
            assert "no answer" in running.fault("m")
            mirror.signal(signal.SIGCONT)
            await running.down_is()


async def test_all_lines_of_a_dead_machine_are_out_together() -> None:
    lines = ("http", "https")
    bases = [f"{scheme}://127.0.0.1:9/" for scheme in lines]
    slow = replace(FAST, hot_every_s=30, cold_every_s=30, asked_every_s=0)
    async with watching(target("m", *bases), settings=slow) as running:
        running.watch.look_now("m")
        await running.down_is(*(("m", scheme, 4) for scheme in lines))
        assert running.looks("m") <= 6


async def slowly(*_: str) -> bytes:
    await asyncio.sleep(5)
    return head()


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (lambda *_: head(500), "answers 500"),
        (lambda *_: head(503), "answers 503"),
        (lambda *_: head(404), "answers 404"),
        (lambda *_: head(403), "answers 403"),
        (lambda *_: head(200, 999), "is 999 bytes"),
        (lambda *_: b"", "closes the connection"),
        (lambda *_: b"SSH-2.0-OpenSSH_9.2\r\n", "not HTTP"),
        (lambda *_: b"HTTP/1.1 200 X\r\nX-Long: " + b"y" * 20_000, "header of over"),
        (lambda *_: b"HTTP/1.1 100 Continue\r\n\r\n", "closes the connection"),
        (slowly, "no answer"),
        (lambda *_: head(302, 0, "Location: ftp://127.0.0.1/"), "no web URL"),
        (lambda *_: head(302, 0, "Location: /round"), "more than 5 times"),
        (lambda *_: head(302, 0, "Location: http://127.0.0.77/"), "loopback"),
        (lambda *_: head(302, 0, "Location: http://127.1/"), "looks like an address"),
        (lambda *_: head(302, 0, "Location: http://[::1/\xff"), "no web URL"),
    ],
)
async def test_a_server_that_answers_badly_is_out(reply: Reply, said: str) -> None:
    async with served(reply) as bad, watching(target("m", bad.base)) as running:
        await running.down_is(OUT)
        assert said in running.fault("m")
        bad.reply = lambda *_: head()
        await running.down_is()


async def test_a_drip_of_bytes_is_no_answer_in_time() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            for byte in head():
                writer.write(bytes([byte]))
                await writer.drain()
                await asyncio.sleep(0.1)
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()

    listener = await asyncio.start_server(talk, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    try:
        async with watching(target("m", f"http://127.0.0.1:{port}/")) as running:
            await running.down_is(OUT)
            assert "no answer within" in running.fault("m")
    finally:
        listener.close()


@pytest.mark.parametrize("wrong", [head(404), head(200, 1)])
async def test_one_file_that_is_missing_or_wrong_takes_no_mirror_out(wrong: bytes) -> None:
    async with served(lambda _, path: wrong if path == "/a.iso" else head()) as server:
        # of twenty files one is missing: two of them in one look, thrice in a row, never happens
        files = ["a.iso", *(f"{n}.iso" for n in range(19))]
        async with watching(target("m", server.base, files=files)) as running:
            await running.until(lambda: "HEAD /a.iso" in server.asked)
            await running.looked("m", 3)
            assert running.changes == []


@pytest.mark.parametrize(
    "reply",
    [
        lambda method, _: head(405, 0) if method == "HEAD" else head(206, 1, RANGE, body=b"x"),
        lambda *_: head(200, None),
        lambda *_: head(200, 31, "Content-Encoding: gzip"),
        lambda *_: b"HTTP/1.1 100 Continue\r\n\r\n" + head(),
        lambda _, path: head() if path.startswith("/there") else head(302, 0, "Location: /there/x"),
    ],
    ids=["no HEAD", "no length", "packed", "100 first", "redirect"],
)
async def test_odd_answers_that_are_right_all_the_same(reply: Reply) -> None:
    async with served(reply) as server, watching(target("m", server.base)) as running:
        await running.looked("m", 3)
        assert running.changes == []
        assert running.fault("m") == ""


async def test_a_bad_certificate_takes_https_out_and_leaves_http(tmp_path: Path) -> None:
    certificates = make_certificates(tmp_path)
    settings = replace(FAST, ca_file=certificates.ca)

    async def see(tls: object) -> set[tuple[str, str, int]]:
        async with (
            served(lambda *_: head(), tls=certificates.good if tls else certificates.bad) as safe,
            served(lambda *_: head()) as plain,
            watching(target("m", safe.base, plain.base), settings=settings) as running,
        ):
            if not tls:
                await running.down_is(("m", "https", 4))
                assert "TLS fails" in running.fault("m")
            await running.looked("m", 4)
            return running.down

    assert await see(True) == set()
    assert await see(False) == {("m", "https", 4)}


async def test_private_addresses_are_not_talked_to_unless_allowed() -> None:
    settings = replace(FAST, allow_private=False)
    async with (
        served(lambda *_: head()) as server,
        watching(target("m", server.base), settings=settings) as running,
    ):
        await running.down_is(OUT)
        assert "loopback" in running.fault("m")
        assert server.asked == []


async def test_a_name_that_does_not_resolve_is_out_until_it_does() -> None:
    async with served(lambda *_: head()) as server:
        port = server.base.split(":")[2]
        addresses: list[str] = []
        async with watching(
            target("m", f"http://m.example:{port}"), lookup=names(m=addresses)
        ) as running:
            await running.down_is(OUT)
            assert "doesn't resolve" in running.fault("m")
            addresses.append("127.0.0.1")
            await running.down_is()


async def test_broken_ipv6_of_one_mirror_takes_only_that_out() -> None:
    port = 0
    async with served(lambda *_: head(), "127.0.0.1") as four:
        port = int(four.base.split(":")[2].strip("/"))
        async with served(lambda *_: head(), "::1", port=port):
            both = target("good", f"http://both.example:{port}/", families=(4, 6))
            broken = target("m", f"http://broken.example:{port}/", families=(4, 6))
            lookup = names(both=["127.0.0.1", "::1"], broken=["127.0.0.1"])
            async with watching(both, broken, lookup=lookup) as running:
                await running.down_is(("m", "http", 6))
                await running.looked("m", 3)
                await running.down_is(("m", "http", 6))
