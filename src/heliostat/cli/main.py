"""The `heliostat` command: groups, global options, and one place where errors become sentences."""

from __future__ import annotations

import difflib
import errno
import sys
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from heliostat import __version__
from heliostat.cli.context import Settings
from heliostat.model.errors import EXIT_FAILED, HeliostatError

EXIT_INTERRUPTED = 130

MANAGER_MODULES = ("asgiref", "django", "django_tasks", "psycopg")
"""What `heliostat[manager]` brings and the edge does without."""

WHOLE = "Everything on one machine"
PARTS = "One part"
WHAT = "What it knows"
SAFETY = "Against bad days"

COMMANDS = {
    "demo": WHOLE,
    "serve": WHOLE,
    "manager": PARTS,
    "worker": PARTS,
    "edge": PARTS,
    "doctor": WHAT,
    "explain": WHAT,
    "simulate": WHAT,
    "backup": SAFETY,
    "restore": SAFETY,
}
"""Command → its panel in --help; each is the function `NAME` of `heliostat.cli.NAME`."""

GROUPS = {
    "tree": "Trees: add, scan, list what is published",
    "mirror": "Mirrors: list, show, probe, enable, disable, drain",
    "mirrors": "Many mirrors: plan and apply their files, see a release spread",
    "jobs": "Jobs: what runs on which worker, how far, what waits",
    "geo": "Places of addresses: lookup, show, update",
    "state": "The state edges run on: publish, show, verify",
    "budget": "Budgets of scarce bytes: show, set",
    "release": "Releases: announce, see whether telling people is safe",
    "node": "Nodes: add, list, show, drain, undrain, remove",
    "dns": "Records of the nodes: plan, apply, status",
    "failover": "The monitor on a node, for servers of DNS that check nobody",
    "infra": "A project's servers in one repository: init, check, rotate, update",
    "keys": "Keys that states are signed with: init, show, rotate",
}
"""Group → its help; each is the `app` of `heliostat.cli.NAME`, imported only when it is used."""


class LazyGroup(TyperGroup):
    """Imports a command's module when it is called, so that `heliostat edge` never meets Django.

    The overrides name typer's public context: the class it really passes moved between releases.
    """

    def list_commands(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]
        return [*COMMANDS, *GROUPS]

    def get_command(self, ctx: typer.Context, cmd_name: str) -> Any:  # type: ignore[override]
        if cmd_name not in COMMANDS and cmd_name not in GROUPS:
            near = difflib.get_close_matches(cmd_name, [*COMMANDS, *GROUPS], n=1)
            hint = f' Did you mean "{near[0]}"?' if near else ""
            ctx.fail(f'There is no command "{cmd_name}".{hint}')
        module = import_module(f"heliostat.cli.{cmd_name}")
        if cmd_name in GROUPS:
            command = typer.main.get_command(module.app)
            command.help = GROUPS[cmd_name]
            panel = WHAT
        else:
            single = typer.Typer(add_completion=False)
            single.command(name=cmd_name)(getattr(module, cmd_name))
            command = typer.main.get_command(single)
            panel = COMMANDS[cmd_name]
        command.name = cmd_name
        # typer sets this on the commands it makes itself; its type doesn't say so
        command.rich_help_panel = panel  # type: ignore[attr-defined]
        return command


app = typer.Typer(
    cls=LazyGroup, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False
)


def _version(value: bool) -> None:
    if value:
        typer.echo(f"heliostat {__version__}")
        raise typer.Exit


@app.callback()
def root(
    ctx: typer.Context,
    config: Annotated[
        Path | None,
        typer.Option(help="default: ./heliostat.toml, then /etc/heliostat/heliostat.toml"),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="JSON instead of tables")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="tracebacks and debug logs")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="no progress, no remarks")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="print the version")
    ] = False,
) -> None:
    """Sends every download of an open-source project to the best of its mirrors."""
    ctx.obj = Settings(config, json, debug, quiet)


def main() -> None:
    """Runs the command line; the only place that turns exceptions into exit codes."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Runs one command and gives its exit code (0 done, 1 failed, 2 usage, 3 refused)."""
    debug = "--debug" in arguments
    try:
        app(arguments)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else EXIT_FAILED
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except HeliostatError as error:
        if debug:
            raise
        return _fail(str(error), error.exit_code)
    except BrokenPipeError:
        sys.stderr.close()
        return EXIT_FAILED
    except ModuleNotFoundError as error:
        if debug or (error.name or "").partition(".")[0] not in MANAGER_MODULES:
            raise
        return _fail(
            "this command needs the manager's parts; install them:"
            " pip install 'heliostat[manager]'",
            EXIT_FAILED,
        )
    except OSError as error:
        if debug:
            raise
        return _fail(_os_message(error), EXIT_FAILED)
    except Exception as error:  # the process boundary: a person gets a sentence
        if debug:
            raise
        kind = type(error).__name__
        return _fail(
            f"a fault in Heliostat itself ({kind}: {error}); run it again with --debug"
            " for the traceback and please report it",
            EXIT_FAILED,
        )
    return 0


def _fail(message: str, code: int) -> int:
    sys.stderr.write(f"heliostat: {message}\n")
    return code


def _os_message(error: OSError) -> str:
    where = f"{error.filename}: " if error.filename else ""
    what = error.strerror or str(error)
    remedy = {
        errno.ENOSPC: "the disk is full; free some space and run it again, nothing was lost",
        errno.EROFS: "the disk is read-only; choose another data_dir",
        errno.ENOTDIR: "is below a file, not a folder; check data_dir",
    }.get(error.errno or 0)
    if error.errno in (errno.EACCES, errno.EPERM):
        remedy = f"{what}; run it as the user who owns it, or check its permissions"
    return f"{where}{remedy or what}"
