"""`heliostat state`: publish, show, verify."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from heliostat.cli.context import Settings, json_option
from heliostat.model.errors import HeliostatError

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
    to: Annotated[
        list[str] | None,
        typer.Option("--to", help="also put it there: s3://BUCKET/PREFIX or a folder"),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Compiles what is known now and publishes it, if anything changed.

    It is put to the places of [manager] publish_to, too.
    """
    from heliostat.manager.publishing.destinations import destination_of
    from heliostat.manager.setup import setup_django

    settings = Settings.of(ctx)
    loaded = settings.load()
    wanted = [*loaded.config.manager.publish_to, *(to or [])]
    destinations = [destination_of(where, loaded) for where in wanted]
    setup_django(loaded)
    from heliostat.manager.publish import Publisher  # it has tables, which need Django set up

    publisher = Publisher(loaded)
    with settings.err.status("compiling the state"):
        published = publisher.publish(datetime.now(UTC), force=force)
    manifest = published.manifest
    counts = f"{manifest.counts['mirrors']} mirrors, {manifest.counts['files']} files"
    if not settings.json:
        what = "published state" if published.changed else "nothing changed: state"
        stays = "" if published.changed else " stays"
        settings.out.print(f"{what} {manifest.version}{stays}: {counts}")
    put: dict[str, bool] = {}
    failed: list[HeliostatError] = []
    for destination in destinations:  # one that fails keeps the others from nothing
        with settings.err.status(f"putting it to {destination.name}"):
            try:
                put[destination.name] = destination.push(publisher.store)
            except HeliostatError as error:
                failed.append(error)
                continue
        if not settings.json:
            word = "put to" if put[destination.name] else "was already at"
            settings.out.print(f"  {word} {destination.name}")
    if settings.json:
        settings.print_json({"version": manifest.version, "changed": published.changed, "put": put})
    for another in failed[1:]:
        settings.err.print(f"heliostat: {another}")
    if failed:
        raise failed[0]


@app.command()
def show(ctx: typer.Context, json: JsonOption = False) -> None:
    """The published state: version, age, contents, sizes, attributions."""
    from heliostat.state.documents import NoticeDocument, parse
    from heliostat.state.store import StateStore
    from heliostat.state.trust import root_versions

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
        "fence": manifest.fence,
        "root_version": max(root_versions(store.folder), default=0),
        "folder": str(store.folder),
        "notices": notice.notices,
    }
    if settings.json:
        settings.print_json(shown)
        return
    out = settings.out
    age = datetime.now(UTC) - manifest.published_at
    out.print(f"state {manifest.version}, published {age.total_seconds():,.0f} s ago")
    out.print(f"  signed under root version {shown['root_version']}, lease {manifest.fence}")
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
    """Verifies the signatures and every file of a state, and opens it as an edge would."""
    from heliostat.state.opened import open_state
    from heliostat.state.store import StateStore
    from heliostat.state.trust import verified_manifest

    settings = Settings.of(ctx)
    store = StateStore(folder or _folder(settings))
    manifest = store.manifest()
    verified_manifest(store.folder)
    with settings.err.status("reading the state"):
        open_state(store, manifest)
    if settings.json:
        settings.print_json({"version": manifest.version, "files": len(manifest.files), "ok": True})
    else:
        settings.out.print(
            f"state {manifest.version} in {store.folder} is whole and signed:"
            f" {len(manifest.files)} files"
        )


def _folder(settings: Settings) -> Path:
    from heliostat.state.store import PUBLISHED_FOLDER

    return settings.load().data_dir / PUBLISHED_FOLDER
