"""Real web servers over one folder each: Apache and lighttpd, beside the demo's nginx."""

from __future__ import annotations

import os
from pathlib import Path

from heliostat.demo.process import DemoError, ServerProcess, find_program, join_host_port

APACHE_MODULES = "/usr/lib/apache2/modules"
APACHE = """\
ServerRoot "{work}"
PidFile "{work}/apache.pid"
ErrorLog "{work}/apache-error.log"
LoadModule mpm_event_module {modules}/mod_mpm_event.so
LoadModule authz_core_module {modules}/mod_authz_core.so
LoadModule dir_module {modules}/mod_dir.so
LoadModule autoindex_module {modules}/mod_autoindex.so
LoadModule alias_module {modules}/mod_alias.so
ServerName localhost
Listen {listen}
StartServers 1
DocumentRoot "{root}"
{user}
<Directory "/">
  Options +Indexes +FollowSymLinks
  Require all granted
  {options}
</Directory>
"""
LIGHTTPD = """\
server.document-root = "{root}"
server.port = {port}
server.bind = "{address}"
server.modules = ("mod_dirlisting")
dir-listing.activate = "enable"
"""


class _Web(ServerProcess):
    def __init__(
        self, root: Path, address: str, port: int, work_dir: Path, options: str = ""
    ) -> None:
        super().__init__(address, port, work_dir.absolute())
        self.root, self.options = root.absolute(), options

    @property
    def url(self) -> str:
        return f"http://{join_host_port(self.address, self.port)}/"


class ApacheServer(_Web):
    """Apache with mod_autoindex; `options` are lines of its Directory block."""

    name = "apache2"

    def command(self) -> list[str]:
        program = find_program("apache2")
        if program is None:
            raise DemoError("apache2 is not installed: apt-get install apache2")
        return [program, "-f", str(self.work_dir / "apache.conf"), "-DFOREGROUND"]

    def write_files(self) -> None:
        text = APACHE.format(
            work=self.work_dir,
            modules=APACHE_MODULES,
            listen=join_host_port(self.address, self.port),
            root=self.root,
            user="User nobody\nGroup nogroup" if os.geteuid() == 0 else "",
            options=self.options,
        )
        if os.geteuid() == 0:  # Apache refuses to run as root; pytest's folders are root's only
            for folder in (self.root, *self.root.parents):
                if folder.stat().st_uid == 0 and folder != Path("/"):
                    folder.chmod(folder.stat().st_mode | 0o011)
        (self.work_dir / "apache.conf").write_text(text)


class LighttpdServer(_Web):
    """lighttpd with mod_dirlisting."""

    name = "lighttpd"

    def command(self) -> list[str]:
        program = find_program("lighttpd")
        if program is None:
            raise DemoError("lighttpd is not installed: apt-get install lighttpd")
        return [program, "-D", "-f", str(self.work_dir / "lighttpd.conf")]

    def write_files(self) -> None:
        text = LIGHTTPD.format(root=self.root, port=self.port, address=self.address)
        (self.work_dir / "lighttpd.conf").write_text(text)
