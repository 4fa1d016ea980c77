"""`heliostat mirrors` and `heliostat mirror` as people run them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from heliostat.cli.main import run
from heliostat.demo.process import free_port
from heliostat.demo.servers import StaticServer

MIRROR = """\
name = "{name}"
sponsor = "[bold]University[/] of {name}"
country = "DE"
[[url]]
tree = "isos"
http = "{url}"
"""


class Heliostat:
    """Runs commands in one folder; gives (exit code, standard output, standard error)."""

    def __init__(self, config: Path, capture: pytest.CaptureFixture[str]) -> None:
        self._config, self._capture = config, capture
        self.mirrors = config.parent / "mirrors"
        self.mirrors.mkdir()

    def __call__(self, *arguments: str) -> tuple[int, str, str]:
        code = run(["--config", str(self._config), *arguments])
        captured = self._capture.readouterr()
        return code, captured.out, captured.err

    def declare(self, name: str, url: str = "http://127.0.0.1:9/") -> None:
        (self.mirrors / f"{name}.toml").write_text(MIRROR.format(name=name, url=url))

    def applied(self, *names: str) -> None:
        for name in names:
            self.declare(name)
        assert self("mirrors", "apply", str(self.mirrors), "--doit")[0] == 0


@pytest.fixture
def heliostat(config_path: Path, capsys: pytest.CaptureFixture[str]) -> Heliostat:
    return Heliostat(config_path, capsys)


def test_plan_and_apply_change_nothing_without_doit(heliostat: Heliostat) -> None:
    heliostat.declare("a.example")
    for verb in ("plan", "apply"):
        code, out, err = heliostat("mirrors", verb, str(heliostat.mirrors))
        assert code == 0
        assert "+ a.example" in out
        assert "url.isos.http: http://127.0.0.1:9/" in out
        assert "[bold]University[/] of a.example" in out
        assert "1 to add, 0 to change, 0 to remove, 0 unchanged" in out
        assert "--doit" in err
    assert "no mirrors yet" in heliostat("mirror", "list")[2]


def test_a_change_is_shown_field_by_field(heliostat: Heliostat) -> None:
    heliostat.applied("a.example")
    heliostat.declare("a.example", "http://127.0.0.2:9/new")
    code, out, _ = heliostat("mirrors", "apply", str(heliostat.mirrors), "--doit")
    assert code == 0
    assert "~ a.example" in out
    assert "url.isos.http: http://127.0.0.1:9/ → http://127.0.0.2:9/new/" in out
    assert heliostat("mirrors", "plan", str(heliostat.mirrors))[1] == (
        "nothing to change, 1 mirrors are as declared\n"
    )


def test_plans_as_json(heliostat: Heliostat) -> None:
    heliostat.declare("a.example")
    _, out, _ = heliostat("mirrors", "apply", str(heliostat.mirrors), "--doit", "--json")
    report = json.loads(out)
    assert report["applied"] is True
    assert report["added"]["a.example"]["country"] == "DE"


def test_removing_all_needs_force(heliostat: Heliostat, tmp_path: Path) -> None:
    heliostat.applied("a.example", "b.example")
    empty = tmp_path / "empty"
    empty.mkdir()
    code, out, err = heliostat("mirrors", "apply", str(empty), "--doit")
    assert code == 3
    assert "- a.example" in out
    assert "all 2 mirrors" in err
    assert heliostat("mirrors", "plan", str(empty))[0] == 3
    assert heliostat("mirrors", "apply", str(empty), "--doit", "--force")[0] == 0
    assert heliostat("mirror", "list", "--json")[1] == "[]\n"


def test_a_fault_in_a_file_is_one_sentence(heliostat: Heliostat) -> None:
    heliostat.declare("a.example")
    file = heliostat.mirrors / "a.example.toml"
    file.write_text(file.read_text().replace("country", "contry"))
    code, out, err = heliostat("mirrors", "plan", str(heliostat.mirrors))
    assert (code, out) == (1, "")
    assert err == f'heliostat: {file}:3: unknown key "contry"; did you mean "country"?\n'


def test_show_has_the_keys_that_others_rely_on(heliostat: Heliostat) -> None:
    heliostat.applied("a.example")
    for arguments in (("--json", "mirror", "show"), ("mirror", "show", "--json")):
        shown = json.loads(heliostat(*arguments, "a.example")[1])
        assert {"name", "state", "reason", "since", "endpoints"} <= shown.keys()
        assert shown["state"] == "new"
        assert shown["endpoints"][0]["url"] == "http://127.0.0.1:9/"
    assert "not looked at yet" in heliostat("mirror", "show", "a.example")[1]


def test_disable_and_enable(heliostat: Heliostat) -> None:
    heliostat.applied("a.example")
    assert heliostat("mirror", "disable", "a.example", "--reason", "disk [is] full")[0] == 0
    _, out, _ = heliostat("mirror", "list")
    assert out.splitlines()[1].split()[:3] == ["a.example", "disabled", "DE"]
    assert out.splitlines()[1].endswith("  disk [is] full")
    assert json.loads(heliostat("mirror", "show", "a.example", "--json")[1])["disabled"]["by"] == (
        "hand"
    )
    assert heliostat("mirror", "enable", "a.example")[1] == "a.example is enabled\n"
    assert heliostat("mirror", "enable", "a.example")[1] == "a.example is enabled already\n"
    assert heliostat("mirror", "disable", "a.example")[0] == 0
    assert "disabled by hand" in heliostat("mirror", "show", "a.example")[1]
    assert heliostat("mirror", "enable", "b.example")[2] == (
        'heliostat: no mirror is called "b.example"; did you mean "a.example"?\n'
    )


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Callable[[str], str]]:
    """Serves a copy of the tree without some of its files; gives the URL."""
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "x.iso").write_bytes(b"x" * 1000)
    (tmp_path / "tree" / "y.iso").write_bytes(b"y" * 2000)
    servers: list[StaticServer] = []

    def serve(*missing: str) -> str:
        root = tmp_path / f"copy{len(servers)}"
        root.mkdir()
        for file in (tmp_path / "tree").iterdir():
            if file.name not in missing:
                (root / file.name).write_bytes(file.read_bytes())
        work = tmp_path / f"work{len(servers)}"
        servers.append(StaticServer(root, "127.0.0.1", free_port(), work).start())
        return servers[-1].url

    yield serve
    for server in servers:
        server.stop()


def test_probe_shows_who_holds_what(heliostat: Heliostat, served: Callable[..., str]) -> None:
    heliostat.declare("full.example", served())
    heliostat.declare("part.example", served("y.iso"))
    heliostat.declare("dead.example", f"http://127.0.0.1:{free_port()}/")
    heliostat("mirrors", "apply", str(heliostat.mirrors), "--doit")
    code, _, err = heliostat("mirror", "probe")
    assert code == 1
    assert "heliostat tree scan isos" in err
    assert heliostat("tree", "scan", "isos")[0] == 0
    code, out, _ = heliostat("mirror", "probe")
    assert code == 0
    rows = {line.split()[0]: line.split() for line in out.splitlines()}
    assert rows["full.example"][1:4] == ["good", "head", "2/2"]
    assert rows["part.example"][1:4] == ["good", "head", "1/2"]
    assert rows["dead.example"][1] == "out"
    assert "connection refused" in out
    code, out, _ = heliostat("mirror", "probe", "dead.example", "--json")
    assert code == 1
    assert [mirror["name"] for mirror in json.loads(out)] == ["dead.example"]


def test_probing_without_mirrors_says_what_to_do(heliostat: Heliostat) -> None:
    assert "heliostat mirrors apply" in heliostat("mirror", "probe")[2]
