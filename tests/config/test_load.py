"""Loading heliostat.toml: what is accepted, and what each fault says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from heliostat.config.errors import ConfigError
from heliostat.config.load import find_config, load_config
from heliostat.config.toml import MAX_TOML_BYTES

TREE_A = '[[tree]]\nname = "a"\nroot = "/x"\n'
TREE_B = '[[tree]]\nname = "b"\nroot = "/y"\n'


def load(path: Path, text: str, **environ: str) -> str:
    """What loading says of `text`; "" when it loads."""
    path.write_text(text, encoding="utf-8")
    try:
        load_config(path, environ)
    except ConfigError as error:
        return str(error).replace(str(path), "F")
    return ""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "heliostat.toml"


def test_the_smallest_file_is_an_empty_one_and_paths_are_relative_to_it(path: Path) -> None:
    path.write_text('[[tree]]\nname = "a"\nroot = "files"\n[[geo]]\npath = "x.mmdb"\n')
    loaded = load_config(path, {})
    assert loaded.data_dir == path.parent / "data"
    assert loaded.config.trees[0].root == str(path.parent / "files")
    assert loaded.config.geo[0].path == path.parent / "x.mmdb"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[edge]\nworkerz = 2\n", 'F:2: unknown key "edge.workerz"; did you mean "workers"?'),
        ("[egde]\nworkers = 2\n", 'F:1: unknown key "egde"; did you mean "edge"?'),
        ("[edge]\n\nworkers = true\n", 'F:3: "edge.workers": must be a whole number'),
        ("[edge]\nworkers = -1\n", 'F:2: "edge.workers": must be greater than or equal to 0'),
        ('[edge]\ntls_key = "k.pem"\n', 'F:2: "edge.tls_key": tls_certificate and tls_key go'),
        (
            '[edge]\nhttp_listen = ["[::1]:80"]\n',
            'F:2: "edge.http_listen": without tls_certificate',
        ),
        ("[probe]\nscan_s = inf\n", 'F:2: "probe.scan_s": must be a finite number'),
        ('[edge]\nlisten = "x:1"\n', 'F:2: "edge.listen": must be a list, such as ["…"]'),
        ('[edge]\nlisten = ["x"]\n', 'F:2: "edge.listen": "x" is not HOST:PORT'),
        (
            '[edge]\npublic_url = "ftp://x/"\n',
            'F:2: "edge.public_url": "ftp://x/" is not a http://',
        ),
        (
            '[edge]\npublic_url = "http://x/?a"\n',
            'F:2: "edge.public_url": "http://x/?a" has a query',
        ),
        ('[edge]\npublic_url = "http://x:99999/"\n', 'the port "99999" is no number'),
        ('[edge]\ntrusted_proxies = ["1.2.3.4/33"]\n', '"1.2.3.4/33" is no network'),
        ("edge = 3\n", 'F:1: "edge": must be a table'),
        ('[tree]\nname = "a"\n', 'F:1: "tree" is a list of tables: write [[tree]] above each'),
        ('[[tree]]\nname = "a"\nrot = "/x"\n', 'F:3: unknown key "tree.rot"; did you mean "root"?'),
        ('[[tree]]\nname = "a"\n', 'F:1: the key "tree.root" is missing; add it'),
        ('[[tree]]\nname = "A b"\nroot = "/"\n', 'F:2: "tree.name": "A b" can\'t be a name'),
        ('[[tree]]\nname = "a"\nroot = ""\n', 'F:3: "tree.root": a path can\'t be empty'),
        (TREE_A + 'prefix = "x"\n', 'F:4: "tree.prefix": a prefix is a path such as'),
        (TREE_A + 'prefix = "/../"\n', 'F:4: "tree.prefix": a prefix is a path such as'),
        (TREE_A + "\n" + TREE_A, 'F:6: "tree.name": an earlier tree has "a", too; change one'),
        (TREE_A + TREE_B + 'prefix = "/"\n', 'F:7: "tree.prefix": an earlier tree has "/", too'),
        ("a = 1\nb =\n", "F:2: is not valid TOML"),
        ("a", "F:1: is not valid TOML"),
        ('data_dir = "~no-such-user/x"\n', "there is no such user"),
    ],
)
def test_a_fault_names_file_line_key_and_remedy(path: Path, text: str, message: str) -> None:
    assert message in load(path, text)


def test_files_that_are_no_text_are_named(path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        load_config(path, {})
    path.write_bytes(b'data_dir = "x"\nname = "\xff"\n')
    with pytest.raises(ConfigError, match=r"heliostat.toml:2: is not UTF-8"):
        load_config(path, {})
    path.write_bytes(b"#" * (MAX_TOML_BYTES + 1))
    with pytest.raises(ConfigError, match="is it the right file"):
        load_config(path, {})
    with pytest.raises(ConfigError, match="it is a folder, not a file"):
        load_config(path.parent, {})


def test_the_environment_overrides_settings(path: Path) -> None:
    path.write_text("[edge]\nworkers = 1\n")
    environ = {
        "HELIOSTAT_EDGE__WORKERS": "1",
        "HELIOSTAT_PROBE__SCAN_S": "600",
        "HELIOSTAT_EDGE__LISTEN": '["0.0.0.0:80"]',
        "HELIOSTAT_PROBE__USER_AGENT": "me",
        "HELIOSTAT_DATA_DIR": "/var/lib/heliostat",
        "PATH": "/bin",
    }
    loaded = load_config(path, environ)
    assert (loaded.config.edge.workers, loaded.config.probe.scan_s) == (1, 600)
    assert loaded.config.edge.listen == ["0.0.0.0:80"]
    assert loaded.config.probe.user_agent == "me"
    assert loaded.data_dir == Path("/var/lib/heliostat")


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("HELIOSTAT_EDGE__WORKERS", "x", '"edge.workers": must be a whole number'),
        ("HELIOSTAT_EDGE__WORKERZ", "3", 'unknown key "edge.workerz"'),
        ("HELIOSTAT_EGDE__WORKERS", "3", 'unknown key "egde"; did you mean "edge"?'),
        ("HELIOSTAT_TREE__NAME", "x", '"tree" is no section with keys; set it in F'),
        ("HELIOSTAT_DATA_DIR", "", '"data_dir": a path can\'t be empty'),
    ],
)
def test_a_faulty_variable_is_named(path: Path, variable: str, value: str, message: str) -> None:
    said = load(path, TREE_A, **{variable: value})
    assert said.startswith(f"environment variable {variable}: ")
    assert message in said


def test_the_file_in_use_is_found_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    named, explicit = tmp_path / "named.toml", tmp_path / "explicit.toml"
    with pytest.raises(ConfigError, match="no configuration here"):
        find_config(None, {})
    (tmp_path / "heliostat.toml").touch()
    assert find_config(None, {}) == Path("heliostat.toml")
    assert find_config(None, {"HELIOSTAT_CONFIG": str(named)}) == named
    assert find_config(explicit, {"HELIOSTAT_CONFIG": str(named)}) == explicit


def test_a_current_folder_that_may_not_be_entered_has_no_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = tmp_path / "closed"
    closed.mkdir()
    monkeypatch.chdir(closed)
    closed.chmod(0)
    command = [sys.executable, "-c", FIND_AS_NOBODY]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert "no configuration here" in done.stderr


FIND_AS_NOBODY = """
import os
from heliostat.config.load import find_config
if os.geteuid() == 0:
    os.setuid(65534)
find_config(None, {})
"""
