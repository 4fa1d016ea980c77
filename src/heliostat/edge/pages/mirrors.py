"""A file's page: what it is, how to get and verify it, who near the reader has it and why so."""

from __future__ import annotations

from heliostat.edge.forms.about import AboutFile
from heliostat.edge.pages.shell import crumbs, document
from heliostat.edge.pages.text import exact_size, local_href, moment, shown, size, web_href


def mirrors_page(about: AboutFile) -> str:
    """The page for one client; its sources stand in the order in which it should try them."""
    href = local_href(about.href)
    rows = "".join(
        f'<tr><td><a href="{web_href(source.url)}">{shown(source.mirror)}</a></td></tr>'
        for source in about.sources
    )
    return document(
        about.name,
        f"<h1><bdi>{shown(about.name)}</bdi></h1>\n"
        f'<p class="dim">{size(about.size_bytes)} ({exact_size(about.size_bytes)}), '
        f'{moment(about.mtime_s)}</p>\n<p><a href="{href}">Download</a></p>\n'
        f"<table>{rows}</table>\n",
        header=crumbs(about.href, about.publisher),
        notices=about.notices,
    )
