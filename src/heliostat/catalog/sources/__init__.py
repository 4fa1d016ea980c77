"""Sources of trees whose bytes aren't on this machine: S3, rsync, rsync over ssh, index pages.

    async with open_source(tree, settings) as source:
        await source.list(on_entries)

One Protocol (`Source`) for all of them; a tree with a `file_list` is listed by that. Trees on this
machine don't go through here: their bytes are at hand and are hashed (`heliostat.catalog.scan`).
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import aiohttp

from heliostat.catalog.errors import TreeRootError
from heliostat.catalog.sources.base import Looked, Source
from heliostat.catalog.sources.plain import ListedSource
from heliostat.catalog.sources.rsync import RsyncSource
from heliostat.catalog.sources.web import WebSource
from heliostat.config.schema import ProbeSection
from heliostat.config.urls import base_url
from heliostat.listing.pace import Pace
from heliostat.model.tree import Tree

__all__ = ["Looked", "Source", "check_remote_root", "open_source"]


def check_remote_root(root: str) -> None:
    """Whether a remote root can be read at all, by how it is written.

    Raises: TreeRootError: what is wrong with it.
    """
    scheme, separator, rest = root.partition("://")
    try:
        if not separator:
            host, _, path = root.partition(":")
            if host.startswith("-") or not path.startswith("/"):
                raise ValueError("rsync over ssh is written USER@HOST:/PATH")
        elif scheme in ("http", "https", "rsync"):
            base_url(root, (scheme,))
        elif scheme == "s3":
            if not rest.strip("/"):
                raise ValueError("a bucket is written s3://BUCKET/PREFIX")
        else:
            raise ValueError(
                f"{scheme}:// isn't known; a root is a folder, rsync://, https://, s3://BUCKET/PREFIX"
                " or USER@HOST:/PATH"
            )
    except ValueError as error:
        raise TreeRootError(f"{root}: {error}") from None


@asynccontextmanager
async def open_source(tree: Tree, settings: ProbeSection) -> AsyncIterator[Source]:
    """The source of `tree`, whose root is remote.

    Raises: TreeRootError: there is none for such a root. ListingError: it can't be opened.
    """
    check_remote_root(tree.root)
    waits = {"timeout_s": settings.timeout_s, "total_s": settings.scan_timeout_s}
    async with AsyncExitStack() as stack:
        source: Source
        web: WebSource | None = None
        if tree.root.startswith(("http://", "https://")) or "://" in tree.file_list:
            session = await stack.enter_async_context(_session(settings))
            pace = Pace(settings.requests_per_s, settings.connections_per_mirror)
            base = tree.root if tree.root.endswith("/") else tree.root + "/"
            web = WebSource(base, session, pace, **waits)
        if tree.root.startswith(("http://", "https://")):
            assert web is not None
            source = web
        elif tree.root.startswith("s3://"):
            # here, as it takes a while to load and few need it
            from heliostat.catalog.sources.s3 import S3Source

            source = S3Source(
                tree.root,
                endpoint=tree.s3_endpoint,
                region=tree.s3_region,
                user_agent=settings.full_user_agent,
                **waits,
            )
        else:
            source = RsyncSource(tree.root, **waits)
        yield ListedSource(source, tree.file_list, web) if tree.file_list else source


def _session(settings: ProbeSection) -> aiohttp.ClientSession:
    context = ssl.create_default_context()
    if settings.ca is not None:
        context.load_verify_locations(settings.ca)
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=settings.connections_per_mirror, ssl=context),
        headers={"User-Agent": settings.full_user_agent, "Accept-Encoding": "identity"},
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,  # Packages.gz is to stay what it is
        trust_env=False,
    )
