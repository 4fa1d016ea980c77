"""Which ways there are to scan a mirror, and in which order they are tried.

The cheapest first: one rsync listing; for small trees one HEAD a file, as people who download see
it; index pages (one request a folder); FTP (three round trips a folder); HEAD for larger trees.
Each over https first, and over http where that fails: an expired certificate says nothing of what
files a mirror has. A way that worked is taken first for METHOD_S, then all are tried from the
cheapest again.
"""

from __future__ import annotations

from dataclasses import dataclass

from heliostat.model.catalog import CatalogTable
from heliostat.model.mirror import Mirror, Scheme
from heliostat.probe.limits import HEAD_FIRST_FILES, MAX_HEAD_FILES, METHOD_S
from heliostat.probe.memory import ScanMemory
from heliostat.probe.results import Method


@dataclass(frozen=True, slots=True)
class Way:
    """One method and the base URL it goes to."""

    method: Method
    url: str


def ways_of(mirror: Mirror, tree: str, catalog: CatalogTable) -> list[Way]:
    """All ways to scan `mirror` for that tree, the cheapest first."""
    urls = {e.scheme: e.url for e in mirror.endpoints if e.tree == tree}
    files = len(catalog)
    web = [urls[scheme] for scheme in (Scheme.HTTPS, Scheme.HTTP) if scheme in urls]
    by_head = [Way(Method.HEAD, url) for url in web]
    ways = [Way(Method.RSYNC, urls[Scheme.RSYNC])] if Scheme.RSYNC in urls else []
    if files <= HEAD_FIRST_FILES:
        ways += by_head
    ways += [Way(Method.INDEX, url) for url in web]
    if Scheme.FTP in urls:
        ways.append(Way(Method.FTP, urls[Scheme.FTP]))
    if HEAD_FIRST_FILES < files <= MAX_HEAD_FILES:
        ways += by_head
    return ways


def in_turn(ways: list[Way], memory: ScanMemory, now_s: int) -> list[Way]:
    """`ways`, with the one that worked last time in front while that is fresh."""
    if not 0 <= now_s - memory.laddered_s < METHOD_S:
        return ways
    return sorted(ways, key=lambda way: way.method.value != memory.method)
