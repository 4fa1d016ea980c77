"""Small RPM packages and repositories of them."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from tests.clients.stage import done

CONTENT_BYTES = 2_000_000
SPEC = """Name: {name}
Version: {version}
Release: 1
Summary: For tests
License: MIT
BuildArch: noarch
AutoReqProv: no
%define _binary_payload w0.gzdio
%description
For tests.
%install
mkdir -p %{{buildroot}}/usr/share/{name}
cp {content} %{{buildroot}}/usr/share/{name}/version
%files
/usr/share/{name}/version
"""


def installed_version(root: Path, name: str) -> str:
    """What `make_rpm` put below an installation's root; "" when it isn't there."""
    file = root / "usr" / "share" / name / "version"
    return file.read_bytes().partition(b"\n")[0].decode() if file.exists() else ""


def make_rpm(work: Path, into: Path, name: str, version: str) -> Path:
    """Builds NAME-VERSION-1.noarch.rpm; its bytes hardly compress."""
    work.mkdir(parents=True, exist_ok=True)
    content = work / "content"
    noise = hashlib.shake_128(f"{name} {version}".encode()).digest(CONTENT_BYTES)
    content.write_bytes(f"{version}\n".encode() + noise)
    spec = work / f"{name}.spec"
    spec.write_text(SPEC.format(name=name, version=version, content=content))
    done("rpmbuild", "-bb", "--quiet", "--define", f"_topdir {work}", str(spec))
    (built,) = (work / "RPMS" / "noarch").glob(f"{name}-{version}-*.rpm")
    into.mkdir(parents=True, exist_ok=True)
    return built.rename(into / built.name)


def index(repository: Path, at_s: int) -> None:
    """repodata over the packages; `at_s` (Unix time) is when it was made."""
    done("createrepo_c", "--quiet", "--revision", str(at_s), str(repository))
    for path in repository.rglob("*"):
        os.utime(path, (at_s, at_s))
