"""`heliostat state`: publish, show, verify."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from heliostat.cli.context import Settings, json_option

app = typer.Typer(no_args_is_help=True, add_completion=False)

JsonOption = Annotated[
    bool, typer.Option("--json", callback=json_option, help="JSON instead of text")
]


@app.command()
def publish(
    ctx: typer.Context,
    force: Annotated[
        bool, typer.Option("--force", help="also when most mirrors or files would be lost")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Compiles what is known now and publishes it, if anything changed."""
    from heliostat.manager.setup import setup_django

    settings = Settings.of(ctx)
    loaded = settings.load()
    setup_django(loaded)
    from heliostat.manager.publish import Publisher  # it has tables, which need Django set up

    with settings.err.status("compiling the state"):
        published = Publisher(loaded).publish(datetime.now(UTC), force=force)
    manifest = published.manifest
    if settings.json:
        settings.print_json({"version": manifest.version, "changed": published.changed})
        return
    counts = f"{manifest.counts['mirrors']} mirrors, {manifest.counts['files']} files"
    if published.changed:
        settings.out.print(f"published state {manifest.version}: {counts}")
    else:
        settings.out.print(f"nothing changed: state {manifest.version} stays ({counts})")


@app.command()
def show(ctx: typer.Context, json: JsonOption = False) -> None:
    """The published state: version, age, contents, sizes, attributions."""
    from heliostat.state.documents import NoticeDocument, parse
    from heliostat.state.store import StateStore

    settings = Settings.of(ctx)
    store = StateStore(_folder(settings))
    manifest = store.manifest()
    notice_path = store.path_of(manifest.files["notice"])
    notice = parse(NoticeDocument, notice_path.read_bytes(), str(notice_path))
    total_bytes = sum(file.size_bytes for file in manifest.files.values())
    shown: dict[str, Any] = {
        "version": manifest.version,
        "published_at": manifest.published_at.isoformat(),
        "mirrors": manifest.counts.get("mirrors", 0),
        "files": manifest.counts.get("files", 0),
        "state_files": len(manifest.files),
        "bytes": total_bytes,
        "folder": str(store.folder),
        "notices": notice.notices,
    }
    if settings.json:
        settings.print_json(shown)
        return
    out = settings.out
    age = datetime.now(UTC) - manifest.published_at
    out.print(f"state {manifest.version}, published {age.total_seconds():,.0f} s ago")
    out.print(f"  {shown['mirrors']:,} mirrors, {shown['files']:,} files of the trees")
    out.print(f"  {len(manifest.files)} state files, {total_bytes / 1e6:.1f} MB in {store.folder}")
    for line in notice.notices:
        out.print(f"  {line}")


@app.command()
def verify(
    ctx: typer.Context,
    folder: Annotated[
        Path | None, typer.Argument(help="default: the published state of this configuration")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Reads every file of a state, compares its hash, and opens it as an edge would."""
    from heliostat.state.opened import open_state
    from heliostat.state.store import StateStore

    settings = Settings.of(ctx)
    store = StateStore(folder or _folder(settings))
    manifest = store.manifest()
    with settings.err.status("reading the state"):
        open_state(store, manifest)
    if settings.json:
        settings.print_json({"version": manifest.version, "files": len(manifest.files), "ok": True})
    else:
        settings.out.print(
            f"state {manifest.version} in {store.folder} is whole: {len(manifest.files)} files"
        )


def _folder(settings: Settings) -> Path:
    from heliostat.state.store import PUBLISHED_FOLDER

    return settings.load().data_dir / PUBLISHED_FOLDER
