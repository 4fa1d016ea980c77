"""A file's page: what it is, how to get and verify it, who near the reader has it and why so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from heliostat.edge.forms.about import AboutFile, Source
from heliostat.edge.pages import worldmap
from heliostat.edge.pages.countries import country_name, flag
from heliostat.edge.pages.reasons import reason
from heliostat.edge.pages.shell import crumbs, document
from heliostat.edge.pages.text import exact_size, local_href, moment, plain, shown, size, web_href
from heliostat.edge.pages.verify import Command, aria2, commands, signature_name

FIRST_MIRRORS: Final = 12
"""Shown at once; the others unfold."""

_DIGEST_NAMES: Final = {"sha256": "SHA-256", "sha512": "SHA-512", "sha1": "SHA-1", "md5": "MD5"}

_STYLE: Final = f"""
.get{{display:flex;flex-wrap:wrap;gap:.6rem;align-items:center;margin:1.1rem 0 .5rem}}
.get a{{display:inline-block;padding:.55rem 1rem;border:1px solid var(--line);border-radius:.4rem;
text-decoration:none;background:var(--soft)}}
.get a:hover{{border-color:var(--mark)}}
.get .main{{background:var(--link);border-color:var(--link);color:var(--on);font-weight:650;
font-size:1.1rem;padding:.7rem 1.5rem}}
code,pre{{font:.8125rem/1.5 ui-monospace,"SF Mono",Menlo,Consolas,"DejaVu Sans Mono",monospace}}
dl{{display:grid;grid-template-columns:auto minmax(0,1fr);gap:.3rem 1.2rem;margin:.4rem 0 1.2rem;
align-items:baseline}}
dt{{color:var(--dim);font-size:.875rem;white-space:nowrap}}
dd{{margin:0}}
dd code,pre{{user-select:all;-webkit-user-select:all}}
pre{{margin:0;padding:.55rem .8rem;background:var(--soft);border-radius:.4rem;white-space:pre-wrap;
overflow-wrap:anywhere}}
h3{{font-size:.875rem;font-weight:650;margin:.9rem 0 .25rem}}
.by,.why{{color:var(--dim);font-size:.875rem}}
.by{{display:block}}
tbody th{{width:30%}}
tbody td:nth-child(1){{color:var(--dim);text-align:right;padding-right:.8rem}}
tbody td:nth-child(3),tbody td:nth-child(6){{white-space:nowrap}}
.yours th a{{font-weight:650}}
.yours td:nth-child(1){{color:var(--mark);font-weight:650}}
summary{{cursor:pointer;color:var(--link);margin:.9rem 0 .4rem}}
{worldmap.STYLE}
@media(max-width:44rem){{
dl{{grid-template-columns:minmax(0,1fr);gap:0}}
dd{{margin-bottom:.5rem}}
.get .main{{flex:1 0 100%;text-align:center}}
.list thead{{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)}}
.list,.list tbody{{display:block}}
.list tbody tr{{display:flex;flex-wrap:wrap;align-items:baseline;padding:.65rem 0 .65rem 2rem;
position:relative}}
.list th,.list td{{padding:0 .9rem 0 0}}
.list tbody td:nth-child(1){{position:absolute;left:0;width:1.3rem;padding:0}}
.list tbody th{{flex:0 0 100%;width:auto;padding:0}}
.list td:nth-child(n+3){{font-size:.875rem}}
.list .why{{flex:0 0 100%;padding:0}}
.list td:empty{{display:none}}
}}
""".strip()

_HEAD: Final = (
    '<thead role="rowgroup"><tr role="row">'
    '<th role="columnheader" scope="col" class="n"><span aria-hidden="true">#</span>'
    '<span class="sr">Rank</span></th><th role="columnheader" scope="col">Mirror</th>'
    '<th role="columnheader" scope="col">Country</th>'
    '<th role="columnheader" scope="col" class="n">Distance</th>'
    '<th role="columnheader" scope="col" class="n">Estimate</th>'
    '<th role="columnheader" scope="col">Share</th>'
    '<th role="columnheader" scope="col">Why here</th></tr></thead>'
)


def mirrors_page(about: AboutFile) -> str:
    """The page for one client; its sources stand in the order in which it should try them."""
    name = plain(about.name)
    changed = f", changed {moment(about.mtime_s)} UTC" if moment(about.mtime_s) else ""
    return document(
        f"{name}: download and verify – {about.publisher}"
        if about.publisher
        else f"{name}: download and verify",
        f"<h1><bdi>{shown(name)}</bdi></h1>\n"
        f'<p class="dim">{size(about.size_bytes)} ({exact_size(about.size_bytes)}){changed}'
        f"{_publisher(about)}</p>\n"
        f"{_ways(about)}{_verification(about)}{_mirrors(about)}",
        style=_STYLE,
        header=crumbs(about.href, about.publisher),
        notices=about.notices,
    )


def _publisher(about: AboutFile) -> str:
    if not about.publisher:
        return ""
    url, name = web_href(about.publisher_url), shown(about.publisher)
    return f', published by <a href="{url}">{name}</a>' if url else f", published by {name}"


def _ways(about: AboutFile) -> str:
    href = local_href(about.href)
    links = [f'<a class="main" href="{href}">Download</a>']
    if about.magnet.startswith("magnet:"):
        links.append(f'<a href="{href}.torrent">Torrent</a>')
        links.append(f'<a href="{shown(about.magnet)}">Magnet</a>')
    links.append(f'<a href="{href}.meta4">Metalink</a>')
    if about.has_zsync:
        links.append(f'<a href="{href}.zsync">zsync</a>')
    first = next((source for source in about.sources if source.mirror), None)
    start = ""
    if first:
        country = country_name(first.place.country)
        start = (
            f'<p class="dim">It comes from <bdi>{shown(first.sponsor or first.mirror)}</bdi>'
            f"{f', {shown(country)}' if country else ''}. {_several(about)}</p>\n"
        )
    return f'<p class="get">{" ".join(links)}</p>\n{start}'


def _several(about: AboutFile) -> str:
    others = sum(1 for source in about.sources if source.mirror) - 1
    if others < 1:
        return "No other mirror has it yet."
    return f"{others} other{'s' if others > 1 else ''} can take over."


def _verification(about: AboutFile) -> str:
    parts = []
    digests = "".join(
        f"<dt>{said}</dt><dd><code>{about.digests[name].hex()}</code></dd>\n"
        for name, said in _DIGEST_NAMES.items()
        if name in about.digests
    )
    if about.signature_href:
        digests += (
            f'<dt>Signature</dt><dd><a href="{local_href(about.signature_href)}">'
            f"<bdi>{shown(signature_name(about))}</bdi></a></dd>\n"
        )
    if digests:
        parts.append(f"<dl>\n{digests}</dl>\n")
    found = commands(about)
    if found:
        parts.append("<p>In the folder that you downloaded it to:</p>\n")
        parts += [_command(command) for command in found]
    verifying = f"<section><h2>Verify it</h2>\n{''.join(parts)}</section>\n" if parts else ""
    return (
        f"{verifying}<section><h2>Several mirrors at once</h2>\n"
        f"<p>Each piece is checked, and what fails is fetched elsewhere.</p>\n"
        f"{_command(aria2(about))}</section>\n"
    )


def _command(command: Command) -> str:
    note = f'<p class="dim">{shown(command.note)}</p>' if command.note else ""
    return f"<h3>{shown(command.title)}</h3><pre>{shown(command.line)}</pre>{note}\n"


def _mirrors(about: AboutFile) -> str:
    if not about.sources:
        return (
            "<section><h2>Mirrors near you</h2>\n"
            "<p>No mirror has this file yet; please try again in a few minutes.</p></section>\n"
        )
    costs = [source.cost.total_ms for source in about.sources if source.cost]
    best_ms = min(costs, default=0.0)
    rows = [
        _row(rank, source, about, best_ms) for rank, source in enumerate(about.sources, start=1)
    ]
    more = ""
    if len(rows) > FIRST_MIRRORS:
        count = len(rows) - FIRST_MIRRORS
        more = (
            f"<details><summary>{count} more</summary>\n"
            f"{_table('More mirrors', rows[FIRST_MIRRORS:])}</details>\n"
        )
    return (
        "<section><h2>Mirrors near you</h2>\n"
        "<p>Mirrors that are about equally near share the requests of your network. Which of them"
        " is yours stays the same for this file, so that a download that broke off goes on where it"
        " was; if yours fails, the next ones follow.</p>\n"
        f"{worldmap.map_of(about.client_place, about.sources)}"
        f"{_table('Mirrors', rows[:FIRST_MIRRORS])}{more}</section>\n"
    )


def _table(label: str, rows: Sequence[str]) -> str:
    return (
        f'<table class="list" role="table" aria-label="{label}">{_HEAD}\n'
        f'<tbody role="rowgroup">\n{"".join(rows)}</tbody></table>\n'
    )


def _row(rank: int, source: Source, about: AboutFile, best_ms: float) -> str:
    url = web_href(source.url)
    name = shown(source.mirror or _host(source.url))
    link = f'<a href="{url}" rel="nofollow"><bdi>{name}</bdi></a>' if url else f"<bdi>{name}</bdi>"
    by = f'<span class="by"><bdi>{shown(source.sponsor)}</bdi></span>' if source.sponsor else ""
    code, far = source.place.country, source.distance_km
    mark = flag(code)
    country = f'<span aria-hidden="true">{mark}</span> ' if mark else ""
    distance = "" if far is None else f"{_rounded_km(far):,} km"
    estimate = f"{source.cost.total_ms:.0f} ms" if source.cost else ""
    why = shown(reason(source, about.client_place, best_ms))
    mine = ' class="yours"' if rank == 1 else ""
    share = ""
    if source.share > 0:
        share = (
            f'<span class="bar" style="width:{max(0.1, min(1.0, source.share) * 3):.2f}rem"></span>'
            f" {source.share:.0%}"
        )
    return (
        f'<tr role="row"{mine}><td role="cell">{rank}</td>'
        f'<th role="rowheader" scope="row">{link}{by}</th>'
        f'<td role="cell">{country}{shown(country_name(code))}</td>'
        f'<td role="cell" class="n">{distance}</td><td role="cell" class="n">{estimate}</td>'
        f'<td role="cell">{share}</td>'
        f'<td role="cell" class="why">{why}</td></tr>\n'
    )


def _rounded_km(far: float) -> int:
    """To what places are known by: tens of kilometres."""
    return round(far) if far < 10 else 10 * round(far / 10)


def _host(url: str) -> str:
    """Of an absolute URL; the whole of what isn't one."""
    return url.partition("://")[2].partition("/")[0] or url
