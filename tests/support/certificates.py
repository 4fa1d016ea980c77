"""Certificates made by openssl for tests: of any kind, of any age."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime
from pathlib import Path

KINDS = {
    "ecdsa": ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"],
    "rsa": ["-newkey", "rsa:2048"],
}


def make_certificate(
    folder: Path, name: str = "edge.example", kind: str = "ecdsa", days: int = 90
) -> tuple[Path, Path]:
    """A self-signed certificate for `name` and 127.0.0.1, and its key, as new files in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    certificate, key = folder / f"{name}-{kind}.pem", folder / f"{name}-{kind}.key"
    command = [
        *("openssl", "req", "-x509", *KINDS[kind], "-nodes", "-sha256"),
        *("-keyout", str(key), "-out", str(certificate), "-days", str(days)),
        *("-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name},IP:127.0.0.1"),
    ]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    return certificate, key


def end_of(certificate: Path) -> datetime:
    """notAfter, as openssl reads it."""
    done = subprocess.run(
        ["openssl", "x509", "-in", str(certificate), "-noout", "-enddate", "-dateopt", "iso_8601"],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    text = done.stdout.strip().partition("=")[2]
    return datetime.strptime(text, "%Y-%m-%d %H:%M:%SZ").replace(tzinfo=UTC)
