"""The parts that are pure or nearly so: frames, shares of descriptors, pauses, what is offered."""

from __future__ import annotations

import socket
from contextlib import closing, suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliostat.edge.processes import frames
from heliostat.edge.processes.channel import channel
from heliostat.edge.processes.children import LONGEST_PAUSE_S, Child, Place
from heliostat.edge.processes.errors import TakeoverError
from heliostat.edge.processes.listeners import (
    Listener,
    distinct,
    format_address,
    grown,
    matches,
    open_fresh,
    open_listener,
    share_of,
)
from heliostat.edge.processes.rundir import RunFolder
from heliostat.edge.processes.takeover import FDS_A_MESSAGE, Offer, Predecessor


@given(st.integers(0, 20), st.integers(1, 8))
def test_every_descriptor_is_somebodys_and_shares_are_even(count: int, workers: int) -> None:
    held = [Listener(str(number), socket.socket.__new__(socket.socket)) for number in range(count)]
    shares = [share_of(held, index, workers) for index in range(workers)]
    assert {one.address for share in shares for one in share} == {one.address for one in held}
    assert len({len(share) for share in shares}) <= 1
    alone = [[one for one in share if sum(one in s for s in shares) == 1] for share in shares]
    assert all(len(one) == count // workers for one in alone) or workers == 1


@given(st.binary(max_size=64))
def test_a_frame_is_read_back_and_nonsense_is_a_frame_error(payload: bytes) -> None:
    raw = frames.frame(frames.COUNTS, payload)
    assert frames.payload_bytes(raw[: frames.HEADER_BYTES]) == len(payload) + 1
    assert raw[frames.HEADER_BYTES :] == frames.COUNTS + payload
    with suppress(frames.FrameError):
        frames.message_of(payload)


def test_frames_are_bounded_both_ways() -> None:
    with pytest.raises(frames.FrameError):
        frames.frame(frames.JSON, bytes(frames.MAX_FRAME_BYTES))
    for header in (b"\0\0\0\0", b"\xff\xff\xff\xff"):
        with pytest.raises(frames.FrameError):
            frames.payload_bytes(header)


def test_a_child_that_dies_young_again_and_again_waits_longer_but_never_a_second() -> None:
    place = Place("worker-0", lambda *_: 0)
    ours, theirs = channel()
    pauses = []
    for _ in range(20):
        place.child = Child(1, ours, born_s=0, seen_s=0)
        place.died(0.5)
        pauses.append(place.start_at_s - 0.5)
    assert pauses[0] == 0
    assert pauses == sorted(pauses)
    assert pauses[-1] == LONGEST_PAUSE_S < 1
    place.child = Child(1, ours, born_s=0, seen_s=0)
    place.died(5.0)
    assert place.start_at_s == 5.0
    ours.close()
    assert theirs.receive() is None
    theirs.close()


def test_a_channel_gives_whole_messages_and_tells_the_end() -> None:
    ours, theirs = channel()
    assert theirs.receive() == []
    assert ours.send({"a": 1})
    assert ours.send({"b": 2})
    ours.close()
    assert theirs.receive() == [{"a": 1}, {"b": 2}]
    assert theirs.receive() is None
    assert not theirs.send({"c": 3})
    theirs.close()


def test_many_descriptors_go_over_and_are_the_same_sockets(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / ("deep/" * 40) / "run")  # longer than a socket's address may be
    sockets = [open_listener("127.0.0.1:0") for _ in range(FDS_A_MESSAGE + 5)]
    held = [Listener("127.0.0.1:0", sock) for sock in sockets]
    finished = []
    offer = Offer(run.listen("edge.sock"), lambda: held, lambda: finished.append(True))
    with closing(offer), closing(Predecessor(run, "edge.sock")) as predecessor:
        link = offer.accept()
        assert link
        import threading

        def serve() -> None:
            link.setblocking(True)
            while offer.answer(link):
                pass

        thread = threading.Thread(target=serve)
        thread.start()
        found = predecessor.take()
        assert [one.inode for one in found] == [one.inode for one in held]
        assert not finished
        assert predecessor.finish()
        assert finished
        predecessor.close()
        thread.join(5)
        for one in distinct([*held, *found]):
            one.sock.close()
    run.remove("edge.sock")
    with pytest.raises(FileNotFoundError):
        Predecessor(run, "edge.sock")


def test_nonsense_from_a_predecessor_is_a_takeover_error(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    with run.listen("edge.sock") as listener, closing(Predecessor(run, "edge.sock")) as other:
        listener.setblocking(True)
        link, _ = listener.accept()
        with link:
            link.send(b"[]")
            with pytest.raises(TakeoverError):
                other.take()


def test_descriptors_of_one_address_grow_on_its_port() -> None:
    found = grown(open_fresh("127.0.0.1:0", 2), 4)
    assert len({format_address(one.sock) for one in found}) == 1
    assert len({one.inode for one in found}) == 4
    for one in found:
        one.sock.close()


def test_an_address_is_known_by_its_place() -> None:
    with open_listener("[::1]:0") as sock:
        port = sock.getsockname()[1]
        one = Listener("somewhere", sock)
        assert matches(one, f"[::1]:{port}")
        assert matches(one, f"[0:0:0:0:0:0:0:1]:{port}")
        assert not matches(one, f"127.0.0.1:{port}")
        assert matches(one, "somewhere")
        assert not matches(one, "no.such.host.invalid:1")


def test_a_lock_is_one_processs_and_ends_with_it(tmp_path: Path) -> None:
    import os

    run = RunFolder(tmp_path / "run")
    assert run.lock("a")
    assert run.lock("a")
    if (pid := os.fork()) == 0:
        other = RunFolder(tmp_path / "run")
        os._exit(0 if not other.lock("a") and other.holder("a") == str(os.getppid()) else 1)
    assert os.waitpid(pid, 0)[1] == 0
    run.unlock("a")
    if (pid := os.fork()) == 0:
        os._exit(0 if RunFolder(tmp_path / "run").lock("a") else 1)
    assert os.waitpid(pid, 0)[1] == 0
    assert run.lock("a")
    run.unlock("a")


def test_the_age_that_is_told_is_the_age_that_is_accepted() -> None:
    from heliostat.edge.processes.remarks import STATE_VALID_S
    from heliostat.state.sign import VALID

    assert VALID.total_seconds() == STATE_VALID_S
