"""What all pages share: the document around them, its one stylesheet, the way to where one is."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape
from typing import Final

from heliostat.edge.pages.text import decoded, local_href, shown

STYLE: Final = """
:root{color-scheme:light dark;--bg:#fdfcf9;--ink:#211d14;--dim:#6a6353;--line:#e9e3d4;
--link:#8a4b00;--mark:#d98a00;--soft:#f6f1e4;--land:#e4dcc8;--on:#fff}
@media(prefers-color-scheme:dark){:root{--bg:#17150f;--ink:#ece6d8;--dim:#a89f8b;--line:#332e22;
--link:#f2b04a;--mark:#d98a00;--soft:#211e16;--land:#3a3426;--on:#17150f}}
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%;text-size-adjust:100%}
body{margin:0 auto;max-width:62rem;padding:1.5rem 1.25rem 2.5rem;background:var(--bg);
color:var(--ink);font:1rem/1.5 system-ui,-apple-system,"Segoe UI",sans-serif;overflow-wrap:anywhere}
a{color:var(--link);text-decoration-thickness:.06em;text-underline-offset:.18em}
a:hover{text-decoration-thickness:.12em}
:focus-visible{outline:.16rem solid var(--mark);outline-offset:.14rem;border-radius:.15rem}
nav,.dim,footer{color:var(--dim);font-size:.875rem}
nav ol{list-style:none;margin:0;padding:0}
nav li{display:inline}
nav li+li::before{content:"/";padding:0 .4em;opacity:.6}
h1{font-size:1.6rem;line-height:1.25;font-weight:650;letter-spacing:-.012em;margin:.35rem 0 .3rem}
h2{font-size:1.08rem;font-weight:650;margin:2.4rem 0 .6rem}
p{margin:.3rem 0 .8rem;max-width:44rem}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{text-align:left;vertical-align:baseline;padding:.38rem 1.4rem .38rem 0;font-weight:400}
th:last-child,td:last-child{padding-right:0}
thead th{white-space:nowrap;color:var(--dim);font-size:.8125rem;border-bottom:1px solid var(--line)}
tbody tr{border-bottom:1px solid var(--line)}
.n{text-align:right;white-space:nowrap}
.bar{display:inline-block;height:.65rem;background:var(--mark);border-radius:.15rem}
.sr{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%);white-space:nowrap}
footer{margin-top:3rem;font-size:.8125rem}
footer p{margin:.15rem 0}
""".strip()

_ICON: Final = (
    "data:image/svg+xml,%3Csvg xmlns=%27http://www.w3.org/2000/svg%27 viewBox=%270 0 8 8%27%3E"
    "%3Ccircle cx=%274%27 cy=%274%27 r=%273%27 fill=%27%23d98a00%27/%3E%3C/svg%3E"
).replace(" ", "%20")
"""In the page, so that no browser asks for /favicon.ico, which most trees don't have."""

_URL: Final = re.compile(r"https?://[^\s()<>\"',;]+[^\s()<>\"',;.]")


def document(
    title: str, body: str, *, style: str = "", header: str = "", notices: Sequence[str] = ()
) -> str:
    """A whole page; `title` is text, `header`, `body` and `style` are HTML and CSS of ours.

    `notices` are the attributions of the geo data; their licences ask for a link on such a page.
    """
    head = f"<header>{header}</header>\n" if header else ""
    foot = "".join(f"<p>{linked(notice)}</p>" for notice in notices)
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width,initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{shown(title)}</title><link rel="icon" href="{_ICON}">
<style>
{STYLE}
{style}
</style></head><body>
{head}<main>
{body}</main>
{f"<footer>{foot}</footer>" if foot else ""}
</body></html>
"""


def linked(text: str) -> str:
    """`text` escaped, with its http(s) URLs as links."""
    parts, end = [], 0
    for found in _URL.finditer(text):
        url = escape(found[0])
        parts.append(f'{shown(text[end : found.start()])}<a href="{url}">{url}</a>')
        end = found.end()
    return "".join(parts) + shown(text[end:])


def crumbs(href: str, publisher: str, *, and_last: bool = False) -> str:
    """The way to `href`: a link for each folder above it; `and_last`: and for itself.

    The first is the edge's root, under the publisher's name where that is known.
    """
    parts = [part for part in href.split("/") if part]
    links, at = [(shown(publisher) or "All files", "/")], "/"
    for part in parts:
        at += f"{part}/"
        links.append((shown(decoded(part)), local_href(at)))
    if not and_last:
        links = links[: len(parts)]
    if not links:
        return ""
    items = "".join(f'<li><a href="{at}"><bdi>{name}</bdi></a></li>' for name, at in links)
    return f'<nav aria-label="Folders above"><ol>{items}</ol></nav>'
