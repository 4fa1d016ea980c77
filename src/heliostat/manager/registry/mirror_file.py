"""Reads mirror files: one TOML a mirror, strict (the form is in docs/reference/mirror-file.md).

Promises: a fault names file, line, key and remedy; every file of a folder is looked at, so that
all faults come at once; nothing is guessed beyond a missing slash at the end of a URL.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from heliostat.config.errors import ConfigError
from heliostat.config.toml import KeyPath, line_of, read_toml, validate
from heliostat.manager.registry.declaration import Declaration
from heliostat.manager.registry.mirror_form import SCHEMES, MirrorFile
from heliostat.model.mirror import Endpoint, Mirror, MirrorKind, Scheme
from heliostat.model.place import Place

MAX_FILES = 5000
"""Mirror files in one folder; the largest project has about 1,000 mirrors."""
MAX_FAULTS_SHOWN = 20


def read_mirror_file(path: Path, trees: Collection[str]) -> Declaration:
    """One mirror's declaration.

    Raises:
        ConfigError: malformed, an unknown key, a value out of its limits, an unknown tree.
    """
    data, lines = read_toml(path)
    parsed = validate(path, data, lines, MirrorFile)
    if (parsed.latitude is None) != (parsed.longitude is None):
        there = "latitude" if parsed.longitude is None else "longitude"
        missing = "longitude" if there == "latitude" else "latitude"
        line = line_of(lines, (there,))
        raise ConfigError(path, f'"{there}" stands without "{missing}"; give both or none', line)
    if parsed.pop and parsed.kind != "cdn":
        line = line_of(lines, ("pop", 0))
        raise ConfigError(
            path, '[[pop]] is of a CDN alone; write kind = "cdn", or latitude and longitude', line
        )
    endpoints = _endpoints(path, lines, parsed, trees)
    return Declaration(_mirror(parsed, endpoints), parsed.city, parsed.token_sha256)


def read_mirror_files(path: Path, trees: Collection[str]) -> dict[str, Declaration]:
    """The declarations of a folder's *.toml files (not of its subfolders), or of one file.

    Raises:
        ConfigError: no such folder, too many files, two files with one mirror's name, or what
            `read_mirror_file` raises; the faults of all files in one message.
    """
    files = [path] if path.is_file() else _toml_files(path)
    found: dict[str, Declaration] = {}
    origin: dict[str, Path] = {}
    faults: list[ConfigError] = []
    for file in files:
        try:
            declaration = read_mirror_file(file, trees)
            name = declaration.mirror.name
            if name in found:
                raise ConfigError(
                    file,
                    f'the mirror "{name}" is in {origin[name]}, too; keep it in one file',
                    line_of(read_toml(file)[1], ("name",)),
                )
            found[name], origin[name] = declaration, file
        except ConfigError as fault:
            faults.append(fault)
    if len(faults) == 1:
        raise faults[0]
    if faults:
        raise MirrorFilesError(path, faults)
    return found


class MirrorFilesError(ConfigError):
    """Several mirror files have faults; the message lists them, one a line."""

    def __init__(self, path: Path, faults: list[ConfigError]) -> None:
        self.faults = tuple(faults)
        shown = [f"  {fault}" for fault in faults[:MAX_FAULTS_SHOWN]]
        if len(faults) > MAX_FAULTS_SHOWN:
            shown.append(f"  and {len(faults) - MAX_FAULTS_SHOWN} more")
        super().__init__(path, "\n".join([f"{len(faults)} faults, mend them all:", *shown]))


def _toml_files(folder: Path) -> list[Path]:
    try:
        files = sorted(
            file
            for file in folder.iterdir()
            if file.suffix == ".toml" and not file.name.startswith(".")
        )
    except FileNotFoundError:
        raise ConfigError(folder, "no such folder or file of mirrors; check the path") from None
    except OSError as error:
        raise ConfigError(folder, f"can't be read: {error.strerror}") from None
    if len(files) > MAX_FILES:
        raise ConfigError(folder, f"has {len(files)} *.toml files, more than {MAX_FILES}")
    return files


def _endpoints(
    path: Path, lines: dict[KeyPath, int], parsed: MirrorFile, trees: Collection[str]
) -> tuple[Endpoint, ...]:
    endpoints: dict[tuple[str, Scheme], Endpoint] = {}
    for index, block in enumerate(parsed.url):
        if block.tree not in trees:
            known = ", ".join(sorted(trees)) or "none yet, `heliostat tree add` makes one"
            raise ConfigError(
                path,
                f'"url.tree": no tree is called "{block.tree}" (there are: {known})',
                line_of(lines, ("url", index, "tree")),
            )
        urls = [(scheme, getattr(block, scheme.value)) for scheme in SCHEMES]
        if not any(url for _, url in urls):
            raise ConfigError(
                path,
                f'this [[url]] of "{block.tree}" has no URL; add https, http, rsync or ftp',
                line_of(lines, ("url", index)),
            )
        for scheme, url in urls:
            if url and (block.tree, scheme) in endpoints:
                raise ConfigError(
                    path,
                    f'a second {scheme} URL for the tree "{block.tree}"; keep one',
                    line_of(lines, ("url", index, scheme.value)),
                )
            if url:
                endpoints[block.tree, scheme] = Endpoint(block.tree, scheme, url)
    return tuple(endpoints.values())


def _mirror(parsed: MirrorFile, endpoints: tuple[Endpoint, ...]) -> Mirror:
    return Mirror(
        name=parsed.name,
        kind=MirrorKind(parsed.kind),
        sponsor=parsed.sponsor,
        enabled=parsed.enabled,
        place=Place(
            country=parsed.country,
            subdivision=parsed.subdivision,
            asn=parsed.asn[0] if parsed.asn else 0,
            latitude=parsed.latitude,
            longitude=parsed.longitude,
        ),
        asns=tuple(dict.fromkeys(parsed.asn)),
        networks=tuple(dict.fromkeys(parsed.networks)),
        private=parsed.private,
        bandwidth_mbps=parsed.bandwidth_mbps,
        exclude_countries=tuple(dict.fromkeys(parsed.exclude_countries)),
        max_file_bytes=parsed.max_file_bytes,
        endpoints=endpoints,
        time_zone=parsed.time_zone,
        scan_hours=parsed.scan_hours,
        requests_per_s=float(parsed.requests_per_s),
        verify_bytes_per_day=(
            -1 if parsed.verify_bytes_per_day is None else parsed.verify_bytes_per_day
        ),
        budget=parsed.budget.to_budget() if parsed.budget else None,
        capacity=parsed.capacity.to_capacity() if parsed.capacity else None,
        only_beyond_ms=float(parsed.priority.only_beyond_ms),
        first_hours=float(parsed.priority.first_hours),
        pops=tuple((pop.latitude, pop.longitude) for pop in parsed.pop),
    )
