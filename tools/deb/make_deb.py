"""Makes the Debian package: Heliostat with all it depends on in one virtual environment.

    python -m tools.deb.make_deb [WHEELHOUSE] [--into dist]

Takes the wheels of a wheelhouse (`make wheelhouse`) by their hashes and asks no network. The
package has /usr/lib/heliostat (the environment, for Debian's own Python), /usr/bin/heliostat, the
units, man pages and examples. The same tree and wheelhouse make the same package.
"""

from __future__ import annotations

import argparse
import email.parser
import gzip
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from tools.deb.shlibs import packages_of
from tools.make_man import pages

ROOT: Final = Path(__file__).resolve().parents[2]
DEBIAN: Final = ROOT / "deploy/debian"
UNITS: Final = ROOT / "deploy/systemd"
PYTHON: Final = Path("/usr/bin/python3")
"""Debian's: the package depends on it, and its minor version is the environment's."""
HOME: Final = Path("usr/lib/heliostat")
SCRIPTS: Final = ("postinst", "prerm", "postrm")
REVISION: Final = "1"
BUILT_AT_S: Final = int(os.environ.get("SOURCE_DATE_EPOCH", "1700000000"))
WITH_TESTS: Final = ("matplotlib", "numpy", "scipy")
"""Packages that install their own tests, which nobody runs here: 30 MB."""
COMMAND_S: Final = 900


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("wheelhouse", nargs="?", type=Path, default=ROOT / "dist/wheelhouse")
    parser.add_argument("--into", type=Path, default=ROOT / "dist")
    arguments = parser.parse_args()
    wheelhouse = arguments.wheelhouse.absolute()
    if not (wheelhouse / "requirements-manager.txt").exists():
        sys.exit(f"{wheelhouse}: is no wheelhouse; `make wheelhouse` makes one")
    arguments.into.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        stage = Path(scratch) / "stage"
        version = build_environment(stage, wheelhouse)
        add_system_files(stage, f"{version}-{REVISION}")
        package = pack(stage, f"{version}-{REVISION}", arguments.into.absolute())
    print(f"{package}: {package.stat().st_size / 1e6:.0f} MB")


def build_environment(stage: Path, wheelhouse: Path) -> str:
    """The virtual environment below `stage`, at home in /usr/lib/heliostat; Heliostat's version."""
    home = stage / HOME
    run(PYTHON, "-m", "venv", "--without-pip", "--symlinks", home)
    run(
        *(sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"),
        *("--python", home / "bin/python3", "install", "--no-compile", "--require-hashes"),
        *("--no-index", "--find-links", wheelhouse),
        *("-r", wheelhouse / "requirements-manager.txt"),
    )
    version = run(home / "bin/heliostat", "--version").split()[-1]
    for path in (home / "bin").iterdir():
        if path.name not in ("python", "python3", "heliostat"):
            path.unlink()
    script = home / "bin/heliostat"
    code = script.read_text().partition("\n")[2]
    script.write_text(f"#!/{HOME}/bin/python3\n{code}")
    (home / "bin/python").unlink()
    (home / "bin/python3").unlink()
    (home / "bin/python3").symlink_to(Path("../../../bin") / PYTHON.name)
    shutil.rmtree(home / "include", ignore_errors=True)
    (home / "lib64").unlink(missing_ok=True)
    (home / "pyvenv.cfg").write_text(
        f"home = {PYTHON.parent}\ninclude-system-site-packages = false\n"
    )
    for pattern in ("direct_url.json", "__pycache__", "INSTALLER", "REQUESTED"):
        for path in sorted(home.rglob(pattern)):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    for name in WITH_TESTS:
        for path in sorted(home.glob(f"lib/python3*/site-packages/{name}/**/tests")):
            shutil.rmtree(path, ignore_errors=True)
    return version


def add_system_files(stage: Path, version: str) -> None:
    """Everything outside the environment."""
    (stage / "usr/bin").mkdir(parents=True)
    (stage / "usr/bin/heliostat").symlink_to("../lib/heliostat/bin/heliostat")
    for unit in sorted(UNITS.iterdir()):
        put(stage / "lib/systemd/system" / unit.name, unit.read_bytes())
    for kind in ("sysusers", "tmpfiles"):
        put(stage / f"usr/lib/{kind}.d/heliostat.conf", (DEBIAN / f"{kind}.conf").read_bytes())
    for name, text in pages().items():
        folder = stage / f"usr/share/man/man{name[-1]}"
        put(folder / f"{name}.gz", gzipped(text.encode()))
    about = stage / "usr/share/doc/heliostat"
    put(about / "README.Debian", (DEBIAN / "README.Debian").read_bytes())
    put(about / "changelog.Debian.gz", gzipped(changelog(version).encode()))
    put(about / "changelog.gz", gzipped((ROOT / "CHANGELOG.md").read_bytes()))
    put(about / "copyright", copyright_of(stage / HOME).encode())
    for example in sorted(DEBIAN.glob("*.toml")):
        put(about / "examples" / example.name, example.read_bytes())
    overrides = (DEBIAN / "lintian-overrides").read_bytes()
    put(stage / "usr/share/lintian/overrides/heliostat", overrides)


def changelog(version: str) -> str:
    date = run("date", "--utc", "--rfc-email", f"--date=@{BUILT_AT_S}").strip()
    maintainer = re.findall(
        r"^Maintainer: (.*)$", (DEBIAN / "control.in").read_text(), re.MULTILINE
    )[0]
    return (
        f"heliostat ({version}) stable; urgency=medium\n\n"
        f"  * Built from the project's own tree; see changelog.gz.\n\n -- {maintainer}  {date}\n"
    )


def copyright_of(home: Path) -> str:
    """Our license, and name, version and license of every package that comes along."""
    rows = []
    for metadata in sorted(home.rglob("*.dist-info/METADATA")):
        about = email.parser.Parser().parsestr(metadata.read_text(encoding="utf-8"))
        trove = [one for one in about.get_all("Classifier", []) if one.startswith("License ::")]
        said = about.get("License-Expression") or about.get("License") or ", ".join(trove)
        license_name = (said.strip() or "see its dist-info").splitlines()[0]
        rows.append(f"  {about['Name']} {about['Version']}: {license_name}\n")
    return (DEBIAN / "copyright.in").read_text().replace("@PACKAGES@\n", "".join(rows))


def pack(stage: Path, version: str, into: Path) -> Path:
    for path in sorted(stage.rglob("*")):
        if not path.is_symlink():
            is_program = path.is_dir() or path.parent == stage / HOME / "bin"
            path.chmod(0o755 if is_program else 0o644)
    stage.chmod(0o755)
    architecture = run("dpkg", "--print-architecture").strip()
    minor = run(PYTHON, "-c", "import sys; print(sys.version_info.minor)").strip()
    files = sorted(path for path in stage.rglob("*") if path.is_file() and not path.is_symlink())
    values = {
        "VERSION": version,
        "ARCHITECTURE": architecture,
        "SIZE_KIB": str(sum(path.stat().st_size for path in files) // 1024),
        "PYTHON": f"3.{minor}",
        "NEXT_PYTHON": f"3.{int(minor) + 1}",
        "LIBRARIES": ", ".join(packages_of(stage / HOME)),
    }
    control = (DEBIAN / "control.in").read_text()
    for name, value in values.items():
        control = control.replace(f"@{name}@", value)
    sums = "".join(  # in dpkg's own form
        f"{hashlib.md5(path.read_bytes()).hexdigest()}  {path.relative_to(stage)}\n"
        for path in files
    )
    put(stage / "DEBIAN/control", control.encode())
    put(stage / "DEBIAN/md5sums", sums.encode())
    for name in SCRIPTS:
        put(stage / "DEBIAN" / name, (DEBIAN / name).read_bytes())
        (stage / "DEBIAN" / name).chmod(0o755)
    package = into / f"heliostat_{version}_{architecture}.deb"
    run(
        *("dpkg-deb", "--root-owner-group", "-Zxz", "-z1", "--build", stage, package),
        SOURCE_DATE_EPOCH=str(BUILT_AT_S),
    )
    return package


def put(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def gzipped(content: bytes) -> bytes:
    return gzip.compress(content, compresslevel=9, mtime=0)


def run(*command: str | Path, **environment: str) -> str:
    done = subprocess.run(
        [str(word) for word in command],
        stdout=subprocess.PIPE,
        text=True,
        timeout=COMMAND_S,
        env={**os.environ, **environment},
        check=False,
    )
    if done.returncode != 0:
        sys.exit(f"{Path(command[0]).name} failed ({done.returncode}); see above")
    return done.stdout


if __name__ == "__main__":
    main()
