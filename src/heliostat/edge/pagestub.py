"""Temporary."""

from __future__ import annotations

from html import escape

from heliostat.edge.forms.about import AboutFile, Listing


def listing_page(listing: Listing) -> str:
    return (
        "<!doctype html>"
        + "".join(f'<a href="{escape(e.href)}">{escape(e.name)}</a>' for e in listing.entries)
        + f'<a href="?after={listing.next_after}">next</a>'
    )


def mirrors_page(about: AboutFile) -> str:
    return "<!doctype html>" + "".join(
        f'<a href="{escape(e.url)}">{escape(e.mirror)}</a>' for e in about.sources
    )


def error_page(
    status: int, *, path: str, hint: str = "", link: str = "", publisher: str = ""
) -> str:
    return f"<!doctype html>{status} {escape(hint)}{escape(link)}"
