"""The questions of `heliostat infra init` on a terminal: few, most of them with a default.

Promises: what was answered is shown as a file of answers before anything is made, and an answer
that can't be is asked again; nothing is asked for that can be changed later with an editor.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import tomlkit
import typer

from heliostat.cli.context import Settings
from heliostat.config.errors import ConfigError
from heliostat.infra.answers import MAX_SERVERS, Answers, read_answers
from heliostat.infra.errors import InfraError

MAX_TRIES: Final = 5


def ask(settings: Settings) -> Answers:
    """Asks for everything, shows it, and gives it back checked.

    Raises:
        InfraError: no usable answer in MAX_TRIES, or the whole is not wanted.
    """
    for _ in range(MAX_TRIES):
        text = tomlkit.dumps(_questions())
        try:
            answers = _checked(text)
        except ConfigError as error:
            settings.err.print(f"That can't be: {error.reason}. Again:", markup=False)
            continue
        settings.out.print(text, markup=False)
        if typer.confirm("Is that right?", default=True, err=True):
            return answers
    raise InfraError(
        "nothing was made; write the answers into a file (`heliostat infra init --example` prints"
        " one) and name it with --from"
    )


def _checked(text: str) -> Answers:
    with tempfile.TemporaryDirectory(prefix="heliostat-answers-") as folder:
        file = Path(folder) / "answers.toml"
        file.write_text(text, encoding="utf-8")
        return read_answers(file)


def _questions() -> dict[str, Any]:
    name = _text("Name of the project, in short (a-z, 0-9, -)", "")
    service = _text("Host name people download from", "download.example.org")
    zone = service.partition(".")[2]
    manager_name = _text("Host name of the manager", f"manager.{zone}")
    trees = [{"name": name, "root": _text("Folder with the files, on the manager", f"/srv/{name}")}]
    while more := _text("Another folder (empty: no more)", "", may_be_empty=True):
        tree = Path(more).name.lower()
        prefix = _text("  under which path do people find it", f"/{tree}/")
        trees.append({"name": tree, "root": more, "prefix": prefix})
    servers = [_server("manager", ["manager"], hostname=manager_name)]
    typer.echo("The edges redirect people; two at two providers are best.", err=True)
    for number in range(1, MAX_SERVERS - 3):
        asked = f"Edge {number}: name" + ("" if number == 1 else " (empty: no more)")
        edge = _text(asked, "", may_be_empty=number > 1)
        if not edge:
            break
        servers.append(_server(edge, ["edge"]))
    found: dict[str, Any] = {
        "name": name,
        "service_name": service,
        "manager_name": manager_name,
        "dns": _dns(servers, zone),
        "tls": _tls(),
        "tree": trees,
        "server": servers,
    }
    mirror = _text("Host name of a first mirror (empty: later)", "", may_be_empty=True)
    if mirror:
        url = _text("  its https URL of that folder", f"https://{mirror}/{name}/")
        found["mirror"] = [{"name": mirror, "url": [{"tree": name, "https": url}]}]
    return found


def _server(name: str, roles: list[str], hostname: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {"name": name, "roles": roles}
    if provider := _text(f"  {name}: whose machine is it", "", may_be_empty=True):
        found["provider"] = provider
    if hostname:
        found["hostname"] = hostname
    for key, label in (("ipv4", "IPv4"), ("ipv6", "IPv6")):
        if addresses := _text(f"  {name}: {label} address", "", may_be_empty=True):
            found[key] = addresses.replace(",", " ").split()
    return found


def _dns(servers: list[dict[str, Any]], zone: str) -> dict[str, Any]:
    choices = {"route53": "route53", "powerdns": "powerdns", "rfc2136": "rfc2136", "hand": ""}
    chosen = _text(
        f"Who answers for {zone}: route53, powerdns, rfc2136 (knot, bind), or hand",
        "hand",
        allowed=choices.__contains__,
    )
    found: dict[str, Any] = {"provider": choices[chosen]}
    if chosen == "powerdns":
        url = _text("  URL of its API (empty: set PowerDNS up, too)", "", may_be_empty=True)
        if url:
            found["api_url"] = url
        else:
            servers.append(_server("ns1", ["dns"], hostname=f"ns1.{zone}"))
    if chosen == "rfc2136":
        found["server"] = _text("  its primary server, HOST:PORT", f"ns1.{zone}:53")
    return found


def _tls() -> dict[str, Any]:
    kinds = ("certbot", "files", "none")
    source = _text(
        "Certificates: certbot (DNS-01), files (in private/tls), or none",
        "files",
        allowed=kinds.__contains__,
    )
    found = {"source": source}
    if source == "certbot":
        found["email"] = _text("  address that the authority writes to", "")
    return found


def _text(
    question: str,
    default: str,
    *,
    may_be_empty: bool = False,
    allowed: Callable[[str], bool] | None = None,
) -> str:
    for _ in range(MAX_TRIES):
        shown = default if default or may_be_empty else None
        found = str(
            typer.prompt(question, default=shown, show_default=bool(default), err=True)
        ).strip()
        if (found or may_be_empty) and (allowed is None or allowed(found)):
            return found
        typer.echo("That can't be; again, please.", err=True)
    raise InfraError(f"{question}: no answer in {MAX_TRIES} tries; nothing was made")
