"""`heliostat geo` as people meet it: output, JSON, exit codes, no traceback."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from heliostat.cli.main import run

RANGES = "".join(f"20.0.{n}.0,20.0.{n}.255,NO\n" for n in range(200))


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HELIOSTAT_CONFIG", raising=False)


@pytest.fixture
def url() -> Iterator[str]:
    """A server that has RANGES at /good, and a third of them, cut off, at /third."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = RANGES.encode()
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body[: len(body) // 3] + b"\n" if "third" in self.path else body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


def configure(text: str) -> None:
    Path("heliostat.toml").write_text(text)


def test_lookup_works_without_a_configuration(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["geo", "lookup", "141.30.1.1", "2001:638::1", "10.0.0.1"]) == 0
    out = capsys.readouterr().out
    assert "DE (EU)" in out
    assert "680 " in out
    assert "Saxony" in out
    assert "DB-IP City Lite" in out
    assert "private or reserved" in out


@pytest.mark.parametrize("arguments", [["--json", "geo", "lookup"], ["geo", "lookup", "--json"]])
def test_lookup_in_json(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    assert run([*arguments, "8.8.8.8", "10.0.0.1"]) == 0
    google, private = json.loads(capsys.readouterr().out)
    assert google["address"] == "8.8.8.8"
    assert (google["country"], google["asn"], google["network"]) == ("US", 15169, "8.8.8.0/24")
    assert set(google["sources"]) == {"country", "location", "asn"}
    assert private["country"] is None


def test_nonsense_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["geo", "lookup", "localhost"]) == 2
    assert '"localhost" is not an IP address' in capsys.readouterr().err


def test_a_configuration_that_is_named_must_be_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--config", "gone.toml", "geo", "lookup", "8.8.8.8"]) == 1
    assert "gone.toml" in capsys.readouterr().err


def test_a_truncated_source_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    Path("city.mmdb").write_bytes(b"\0" * 1000)
    configure('[[geo]]\npath = "city.mmdb"\n')
    assert run(["geo", "lookup", "8.8.8.8"]) == 1
    caught = capsys.readouterr()
    assert "city.mmdb: is truncated" in caught.err
    assert "Traceback" not in caught.err
    assert caught.out == ""


def test_show_lists_sources_with_licences(capsys: pytest.CaptureFixture[str]) -> None:
    Path("own [1].csv").write_text(RANGES)
    configure('[[geo]]\npath = "own [1].csv"\n')
    assert run(["geo", "show"]) == 0
    out = capsys.readouterr().out
    assert "own [1].csv" in out
    assert "not stated in the file" in out
    assert "CC BY 4.0" in out
    assert "IP Geolocation by DB-IP" in out
    assert run(["--json", "geo", "show"]) == 0
    sources = json.loads(capsys.readouterr().out)
    assert sources[0]["ranges4"] == 3
    assert all(source["licence"] for source in sources)


def test_update_fetches_then_refuses(capsys: pytest.CaptureFixture[str], url: str) -> None:
    configure(f'[[geo]]\npath = "own.csv"\nurl = "{url}/good"\n')
    assert run(["geo", "update"]) == 0
    assert "own.csv: updated" in capsys.readouterr().out
    configure(f'[[geo]]\npath = "own.csv"\nurl = "{url}/third"\n')
    assert run(["--json", "geo", "update"]) == 3
    caught = capsys.readouterr()
    assert json.loads(caught.out)[0]["outcome"] == "kept"
    assert "own.csv: kept as it was" in caught.err
    assert Path("own.csv").read_text() == RANGES


def test_update_goes_on_after_a_failure(capsys: pytest.CaptureFixture[str], url: str) -> None:
    configure(
        '[[geo]]\npath = "a.csv"\nurl = "http://127.0.0.1:1/"\n'
        f'[[geo]]\npath = "b.csv"\nurl = "{url}/good"\n'
    )
    assert run(["geo", "update"]) == 1
    caught = capsys.readouterr()
    assert "b.csv: updated" in caught.out
    assert "127.0.0.1:1" in caught.err


def test_update_without_sources_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    configure("")
    assert run(["geo", "update"]) == 0
    assert "built-in data is used" in capsys.readouterr().out
