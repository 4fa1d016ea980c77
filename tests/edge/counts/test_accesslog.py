"""One request is one line whatever a client sends; addresses are cut; a full disk costs lines."""

from __future__ import annotations

import json
import os
import re
import resource
import signal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliostat.edge.counts.accesslog import (
    AccessLog,
    combined_line,
    json_line,
    truncate,
    whole,
)
from heliostat.edge.counts.entries import (
    MAX_PENDING_BYTES,
    AccessEntries,
    Entry,
    unpack_entries,
)
from heliostat.edge.processes.frames import MAX_FRAME_BYTES

AT_S = 1_760_000_000.25
COMBINED = re.compile(
    rb"[0-9a-f.:-]+ - - \[\d\d/[A-Z][a-z][a-z]/\d{4}:\d\d:\d\d:\d\d \+0000\]"
    rb' "((?:[^"\\]|\\.)*)" \d{3} - "((?:[^"\\]|\\.)*)" "((?:[^"\\]|\\.)*)"\n'
)
"""As log readers read it: quotes end a field unless a backslash stands before them."""


def entry(
    target: bytes = b"/f",
    *,
    method: bytes = b"GET",
    referer: bytes = b"",
    agent: bytes = b"curl/8",
    address: str = "198.51.100.77",
) -> Entry:
    return Entry(AT_S, address, method, target, "1.1", 302, "near", referer, agent)


def test_the_documented_lines() -> None:
    made = entry(b"/f%20x?a=1", referer=b"https://example.org/")
    assert combined_line(made, "198.51.100.0") == (
        b'198.51.100.0 - - [09/Oct/2025:08:53:20 +0000] "GET /f%20x?a=1 HTTP/1.1" 302 -'
        b' "https://example.org/" "curl/8"\n'
    )
    assert json.loads(json_line(made, "198.51.100.0")) == {
        "time": "2025-10-09T08:53:20.250Z",
        "address": "198.51.100.0",
        "method": "GET",
        "target": "/f%20x?a=1",
        "version": "1.1",
        "status": 302,
        "mirror": "near",
        "referer": "https://example.org/",
        "user_agent": "curl/8",
    }


def test_a_client_can_not_write_a_line_of_its_own() -> None:
    forged = b'" 200 -\r\n10.0.0.1 - - [x] "GET /admin\x1b[2J\x00\xff\\'
    line = combined_line(entry(forged, referer=forged, agent=forged), "-")
    assert line.count(b"\n") == 1
    assert COMBINED.fullmatch(line)
    assert b"\\x0d\\x0a10.0.0.1" in line
    assert b"\\x1b[2J\\x00\\xff\\\\" in line


@given(st.binary(), st.binary(), st.binary(), st.binary(max_size=9))
def test_any_bytes_are_one_line_of_its_form(
    target: bytes, referer: bytes, agent: bytes, method: bytes
) -> None:
    made = entry(target, referer=referer, agent=agent, method=method)
    line = combined_line(made, "-")
    assert COMBINED.fullmatch(line)
    assert all(32 <= byte < 127 for byte in line[:-1])
    as_json = json_line(made, "-")
    assert all(32 <= byte < 127 for byte in as_json[:-1])
    assert as_json.endswith(b"}\n")
    assert json.loads(as_json)["status"] == 302


@given(st.binary(), st.binary(), st.text(max_size=40))
def test_what_a_worker_sends_is_what_the_steward_gets(
    target: bytes, agent: bytes, address: str
) -> None:
    entries = AccessEntries()
    made = entry(target, agent=agent, address=address)
    entries.append(made)
    payload = entries.drain()
    assert payload is not None
    assert unpack_entries(payload) == (0, [made])
    truncate(address)
    whole(address)


@pytest.mark.parametrize(
    ("address", "cut", "full"),
    [
        ("198.51.100.77", "198.51.100.0", "198.51.100.77"),
        ("2001:db8:1:2:3::4", "2001:db8:1::", "2001:db8:1:2:3::4"),
        ("::ffff:198.51.100.77", "198.51.100.0", "198.51.100.77"),
        ("2001:DB8::", "2001:db8::", "2001:db8::"),
        ("not an address", "-", "-"),
        ("", "-", "-"),
        ("::1\0", "-", "-"),
        ("fe80::1%eth0", "-", "-"),
    ],
)
def test_addresses_are_cut_to_their_network(address: str, cut: str, full: str) -> None:
    assert truncate(address) == cut
    assert whole(address) == full


def test_addresses_are_whole_only_when_asked(tmp_path: Path) -> None:
    for is_truncated, expected in ((True, b"198.51.100.0 "), (False, b"198.51.100.77 ")):
        log = AccessLog(tmp_path / str(is_truncated), is_truncated=is_truncated)
        log.write([entry()])
        log.close()
        assert (tmp_path / str(is_truncated)).read_bytes().startswith(expected)


def test_a_worker_keeps_so_many_entries_and_a_frame_holds_them() -> None:
    entries = AccessEntries()
    count = 0
    while True:
        entries.append(entry(b"\x00" * 5_000, agent=b"\x01" * 5_000, referer=b"\x7f" * 5_000))
        count += 1
        if count > 2 * MAX_PENDING_BYTES // 5_000:
            break
    payload = entries.drain()
    assert payload is not None
    assert len(payload) < MAX_FRAME_BYTES
    dropped, kept = unpack_entries(payload)
    assert dropped + len(kept) == count
    assert dropped > 0


def test_a_log_that_was_moved_away_is_begun_anew(tmp_path: Path) -> None:
    log = AccessLog(tmp_path / "access.log")
    log.write([entry(b"/1")])
    (tmp_path / "access.log").rename(tmp_path / "access.log.1")
    log.write([entry(b"/2")])
    log.reopen()
    log.write([entry(b"/3")])
    log.close()
    assert (tmp_path / "access.log.1").read_bytes().count(b"\n") == 2
    assert b"/3" in (tmp_path / "access.log").read_bytes()


def test_a_log_that_can_not_be_opened_costs_lines(tmp_path: Path) -> None:
    log = AccessLog(tmp_path / "nowhere" / "access.log")
    log.write([entry(), entry()])
    assert (log.written, log.lost) == (0, 2)
    (tmp_path / "nowhere").mkdir()
    log.write([entry()])
    assert (log.written, log.lost) == (1, 2)
    log.close()


def test_a_pipe_that_nobody_reads_stops_nothing(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    log = AccessLog(tmp_path / "pipe")
    log.write([entry()])
    assert log.lost == 1


def test_a_disk_that_fills_up_costs_lines_and_tears_none_after_it(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    log = AccessLog(path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, hard))
        log.write([entry(b"/before")] * 50)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    whole_lines = path.read_bytes().count(b"\n")
    assert (log.written, log.lost) == (whole_lines, 50 - whole_lines)
    assert log.lost > 0
    log.write([entry(b"/after")])
    log.close()
    lines = path.read_bytes().splitlines(keepends=True)
    assert b"/after" in lines[-1]
    assert COMBINED.fullmatch(lines[-1])
    assert sum(not COMBINED.fullmatch(line) for line in lines) <= 1
