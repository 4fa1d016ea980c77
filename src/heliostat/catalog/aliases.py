"""Aliases such as latest/…: finds the file with the highest version for each, in a whole catalog.

Pure. The same rules and paths give the same aliases, in the order of their paths.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence

from heliostat.catalog.versions import Key, is_prerelease, sort_key
from heliostat.model.templates import fill, literal_front, matcher
from heliostat.model.tree import Alias, AliasRule

MAX_ALIASES = 10_000
"""Of one tree; further ones are left out, the last by path."""

MAX_VERSION_BYTES = 255
VERSION = "version"


def resolve(rules: Sequence[AliasRule], paths: Sequence[bytes]) -> list[Alias]:
    """The aliases that `rules` make of sorted `paths`; of two for one path the earlier rule wins.

    A path of the catalog that has the alias's own name is stronger, and it makes none.
    """
    found: dict[bytes, Alias] = {}
    for rule in rules:
        for path, target in _of_rule(rule, paths).items():
            if path != target and not _is_in(path, paths):
                found.setdefault(path, Alias(path, target, rule.answer))
    return [found[path] for path in sorted(found)[:MAX_ALIASES]]


def _of_rule(rule: AliasRule, paths: Sequence[bytes]) -> dict[bytes, bytes]:
    """Alias → the path with the highest version."""
    match, key_of = matcher(rule.target), sort_key(rule.order)
    best: dict[bytes, tuple[tuple[Key, bytes], bytes]] = {}
    front = literal_front(rule.target)
    for path in _beginning_with(front, paths):
        fields = match(path)
        if fields is None:
            continue
        rank = _rank(fields.get(VERSION, b""), rule, key_of)
        if rank is None:
            continue
        alias = fill(rule.path, fields)
        ranked = ((rank, path), path)
        known = best.get(alias)
        if known is None or known[0] < ranked[0]:
            best[alias] = ranked
    return {alias: path for alias, (_, path) in best.items()}


def _rank(version: bytes, rule: AliasRule, key_of: Callable[[bytes], Key | None]) -> Key | None:
    """None for what doesn't count."""
    if len(version) > MAX_VERSION_BYTES:
        return None
    if not rule.prereleases and is_prerelease(version, rule.order):
        return None
    return key_of(version)


def _beginning_with(front: bytes, paths: Sequence[bytes]) -> Iterator[bytes]:
    at = bisect_left(paths, front)
    while at < len(paths) and paths[at].startswith(front):
        yield paths[at]
        at += 1


def _is_in(path: bytes, paths: Sequence[bytes]) -> bool:
    at = bisect_left(paths, path)
    return at < len(paths) and paths[at] == path
