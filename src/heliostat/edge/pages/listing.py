"""A folder's page.

It is made beside redirects on the same core, for a thousand entries at once: a row is one
formatted string.
"""

from __future__ import annotations

from typing import Final

from heliostat.edge.forms.about import Listing, ListingEntry
from heliostat.edge.pages.shell import crumbs, document
from heliostat.edge.pages.text import decoded, exact_size, local_href, moment, shown, size

_STYLE: Final = """
tbody th{width:100%}
tbody td{white-space:nowrap}
td:nth-child(3),td:nth-child(4){color:var(--dim);font-size:.875rem}
td a+a{margin-left:.9rem}
.f{font-weight:600}
.to{color:var(--dim);font-size:.875rem}
.more{margin-top:1.2rem;font-size:1rem}
.more a{margin-right:1.2rem}
tbody tr:hover{background:var(--soft)}
@media(max-width:44rem){thead{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)}
table,tbody{display:block}
tbody tr{display:flex;flex-wrap:wrap;align-items:baseline;padding:.5rem 0}
th,td{padding:0 1rem 0 0}
tbody th{flex:0 0 100%;padding:0}
td:nth-child(2){text-align:left;color:var(--dim);font-size:.875rem}
td:nth-child(4){margin-left:auto}
td:empty{display:none}}
""".strip()

_HEAD: Final = (
    '<thead role="rowgroup"><tr role="row"><th role="columnheader" scope="col">Name</th>'
    '<th role="columnheader" scope="col" class="n">Size</th>'
    '<th role="columnheader" scope="col">Changed (UTC)</th>'
    '<th role="columnheader" scope="col">Check</th></tr></thead>'
)
"""Roles are said, though they are a table's own: Safari forgets them where CSS folds columns."""


def listing_page(listing: Listing) -> str:
    """One page of a folder; `?after=` leads to the next one."""
    parts = [part for part in listing.href.split("/") if part]
    name = f"{shown(decoded(parts[-1]))}/" if parts else shown(listing.publisher) or "All files"
    count = listing.files_below
    files = f"{count:,} file{'' if count == 1 else 's'} here and below"
    rows = "\n".join([_row(entry) for entry in listing.entries])
    table = (
        f'<table role="table" aria-label="Files and folders">{_HEAD}'
        f'<tbody role="rowgroup">\n{rows}\n</tbody></table>\n'
        if rows
        else "<p>This folder is empty.</p>\n"
    )
    return document(
        f"{listing.path} – {listing.publisher}" if listing.publisher else listing.path,
        f'<h1><bdi>{name}</bdi></h1>\n<p class="dim">{files}</p>\n{table}{_more(listing)}',
        style=_STYLE,
        header=crumbs(listing.href, listing.publisher),
        notices=listing.notices,
    )


def _more(listing: Listing) -> str:
    links = []
    if not listing.is_first:
        links.append(f'<a href="{local_href(listing.href)}">First page</a>')
    if listing.next_after:
        links.append(
            f'<a href="{local_href(f"?after={listing.next_after}")}" rel="next">Next page</a>'
        )
    return f'<nav class="more" aria-label="Pages">{"".join(links)}</nav>\n' if links else ""


def _row(entry: ListingEntry) -> str:
    href, name = local_href(entry.href), shown(entry.name)
    if entry.is_folder:
        return (
            f'<tr role="row"><th role="rowheader" scope="row" class="f"><a href="{href}">'
            f'<bdi>{name}</bdi>/</a></th><td role="cell"></td>'
            f'<td role="cell">{moment(entry.mtime_s)}</td><td role="cell"></td></tr>'
        )
    link = f'<a href="{href}"><bdi>{name}</bdi></a>'
    if entry.alias_of:
        return (
            f'<tr role="row"><th role="rowheader" scope="row">{link}'
            ' <span class="to"><span aria-hidden="true">→</span><span class="sr">stands for</span>'
            f' <bdi>{shown(entry.alias_of)}</bdi></span></th><td role="cell"></td>'
            f'<td role="cell">{moment(entry.mtime_s)}</td><td role="cell"></td></tr>'
        )
    sha256 = f'<a href="{href}.sha256" rel="nofollow">sha256</a>' if entry.has_sha256 else ""
    return (
        f'<tr role="row"><th role="rowheader" scope="row">{link}</th>'
        f'<td role="cell" class="n" title="{exact_size(entry.size_bytes)}">'
        f'{size(entry.size_bytes)}</td><td role="cell">{moment(entry.mtime_s)}</td>'
        f'<td role="cell">{sha256}<a href="{href}.mirrorlist" rel="nofollow">mirrors</a></td></tr>'
    )
