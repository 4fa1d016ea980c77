"""A remote tree in each of the ways it can be published, over one folder on this machine."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from heliostat.catalog import ScanReport
from heliostat.catalog.remote import scan_remote
from heliostat.config.schema import ProbeSection
from heliostat.demo.servers import NginxServer, RsyncServer, free_port
from heliostat.model.tree import Tree
from tests.catalog.helpers import Workshop, sha256

KINDS = [
    pytest.param("rsync", marks=pytest.mark.needs("rsync")),
    pytest.param("ssh", marks=pytest.mark.needs("rsync")),
    pytest.param("web", marks=pytest.mark.needs("nginx")),
    "s3",
]
"""The ways, with what each needs."""

SSH = """#!/bin/sh
# what stands for ssh in these tests: runs the command here, as sshd would there
echo "$@" >> "$0.log"
while [ "$1" != "host.example" ]; do shift; done
shift
exec "$@"
"""


@dataclass
class RemoteShop(Workshop):
    """A workshop whose tree is scanned from elsewhere."""

    url: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    settings: ProbeSection = field(default_factory=lambda: ProbeSection(timeout_s=5))

    @property
    def tree(self) -> Tree:
        return Tree("t", self.url, **self.options)

    def scan(self, **options: Any) -> ScanReport:
        self.upload()
        return scan_remote(self.tree, self.data_dir, self.settings, **options)

    def upload(self) -> None:
        """Brings the files to where they are scanned from."""

    def write_sums(self, *names: str, file: str = "SHA256SUMS") -> Path:
        """Writes a list of the digests of these files."""
        lines = (f"{sha256((self.root / name).read_bytes()).hex()}  {name}\n" for name in names)
        return self.write(file, "".join(lines).encode())


@dataclass
class BucketShop(RemoteShop):
    """The same in a bucket: files are uploaded when they changed."""

    endpoint: str = ""
    bucket: str = ""
    sent: dict[str, bytes] = field(default_factory=dict)

    def upload(self) -> None:
        client = boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )
        names = [p.relative_to(self.root).as_posix() for p in self.root.rglob("*") if p.is_file()]
        for name in names:
            content = (self.root / name).read_bytes()
            if self.sent.get(name) != content:
                client.put_object(Bucket=self.bucket, Key=f"pub/{name}", Body=content)
                self.sent[name] = content
        for name in set(self.sent) - set(names):
            client.delete_object(Bucket=self.bucket, Key=f"pub/{name}")
            del self.sent[name]
        client.close()


@contextmanager
def remote_shop(kind: str, tmp_path: Path, monkeypatch: Any) -> Iterator[RemoteShop]:
    """`kind`: rsync, ssh, https-like index pages (web), a plain list (list), s3."""
    root, data = tmp_path / "tree", tmp_path / "data"
    root.mkdir()
    if kind == "s3":
        server = ThreadedMotoServer("127.0.0.1", free_port(), verbose=False)
        server.start()
        try:
            host, port = server.get_host_and_port()
            endpoint = f"http://{host}:{port}/"
            monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
            monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
            bucket = f"releases-{secrets.token_hex(4)}"  # moto's buckets outlive its server
            shop = BucketShop(root, data, url=f"s3://{bucket}/pub", endpoint=endpoint)
            shop.bucket = bucket
            shop.options = {"s3_endpoint": endpoint}
            client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1")
            client.create_bucket(Bucket=bucket)
            client.close()
            yield shop
        finally:
            server.stop()
    elif kind == "ssh":
        bin_folder = tmp_path / "bin"
        bin_folder.mkdir()
        (bin_folder / "ssh").write_text(SSH)
        (bin_folder / "ssh").chmod(0o755)
        monkeypatch.setenv("PATH", f"{bin_folder}:{os.environ['PATH']}")
        yield RemoteShop(root, data, url=f"mirror@host.example:{root}")
    elif kind == "rsync":
        with RsyncServer(root, "127.0.0.1", free_port(), tmp_path / "rsyncd") as rsyncd:
            yield RemoteShop(root, data, url=rsyncd.url)
    else:
        with NginxServer(root, "127.0.0.1", free_port(), tmp_path / "nginx") as nginx:
            yield RemoteShop(root, data, url=nginx.url)
