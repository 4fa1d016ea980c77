"""Small pages for what isn't there: 404 never (or not yet), 410 no more, 503 not now."""

from __future__ import annotations

from html import escape
from typing import Final

from heliostat.edge.pages.shell import document
from heliostat.edge.pages.text import decoded, local_href, shown

_STYLE: Final = """
main{max-width:38rem;margin:10vh auto 0}
.code{color:var(--mark);font-weight:650;letter-spacing:.04em;margin:0}
.path{color:var(--dim);font-size:.875rem}
""".strip()

_SAID: Final = {
    404: ("There is no such file here", "It may have another name by now, or come later."),
    410: ("This is no longer here", "It was removed and won't come back."),
    503: (
        "Nobody can give you this file right now",
        "This passes by itself. Please try again in a few minutes.",
    ),
}
_OTHERWISE: Final = ("This can't be answered", "The address may be mistyped.")
_LEADS: Final = {404: "The folder above:", 410: "Take this instead:"}


def error_page(
    status: int, *, path: str, hint: str = "", link: str = "", publisher: str = ""
) -> str:
    """What is wrong and where to go next.

    `path` is for people; `link` (percent-encoded) is the folder above for 404, the successor for
    410; `hint` is said instead of the usual sentence.
    """
    heading, usual = _SAID.get(status, _OTHERWISE)
    lead = ""
    if link:
        name = shown(decoded(link))
        lead = (
            f"<p>{_LEADS.get(status, 'Go on here:')} "
            f'<a href="{local_href(link)}"><bdi>{name}</bdi></a></p>\n'
        )
    return document(
        f"{heading} – {publisher}" if publisher else heading,
        f'<p class="code">{status}</p><h1>{escape(heading)}</h1>\n'
        f'<p class="path"><bdi>{shown(path)}</bdi></p>\n'
        f"<p>{shown(hint) or escape(usual)}</p>\n{lead}",
        style=_STYLE,
    )
