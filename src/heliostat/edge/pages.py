"""HTML for people: the explanation of one decision. No scripts, everything escaped."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape

from heliostat.model.decision import Answer, Decision

_STYLE = """
:root{color-scheme:light dark}
body{font:16px/1.5 system-ui,sans-serif;max-width:48rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.4rem;overflow-wrap:anywhere}
p,td{overflow-wrap:anywhere}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{text-align:left;vertical-align:top;padding:.35rem .9rem .35rem 0}
td.n,th.n{text-align:right;white-space:nowrap}
td:last-child,th:last-child{width:5.5rem;white-space:nowrap;padding-right:0}
tr{border-bottom:1px solid #8884}
small{display:block;opacity:.75}
small:empty{display:none}
tr.no{opacity:.65}
.bar{display:inline-block;height:.7rem;background:#d98a00;border-radius:.2rem}
.choice{font-weight:600}
footer{font-size:.8rem;opacity:.8;margin-top:2rem}
""".strip()

_URL = re.compile(r"https?://[^\s()<>\"',;]+[^\s()<>\"',;.]")

_ANSWERS = {
    Answer.MIRROR: "is sent to",
    Answer.FALLBACK: "is sent to the fallback: no mirror can serve it",
    Answer.ORIGIN: "is sent to the origin: no mirror can serve it",
    Answer.UNAVAILABLE: "gets 503: nobody can serve it now",
    Answer.MISSING: "gets 404: the file is not in the catalog",
}


def explain_page(decision: Decision, notices: Sequence[str]) -> str:
    """A page that says who was considered, what each costs, and why the choice fell as it did.

    `notices` are the attributions of the geo data; their licences ask for a link on such a page.
    """
    place = decision.place
    where = ", ".join(
        part
        for part in (
            place.subdivision,
            place.country or "unknown country",
            f"AS{place.asn}" if place.asn else "",
            f"{place.latitude:.1f}, {place.longitude:.1f}"
            if place.latitude is not None and place.longitude is not None
            else "",
        )
        if part
    )
    choice = f' <span class="choice">{escape(decision.choice)}</span>' if decision.choice else ""
    location = ""
    if decision.location:
        url = escape(decision.location)
        location = f'<p><a href="{url}">{url}</a></p>'
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width,initial-scale=1">
<title>{escape(decision.path)}: why this mirror</title><style>{_STYLE}</style></head><body>
<h1>{escape(decision.path)}</h1>
<p>A client at {escape(decision.address)} ({escape(where)}; zone {decision.zone})
{_ANSWERS[decision.answer]}{choice}.</p>
{location}
{_table(decision)}
<footer>{"".join(f"<p>{_linked(notice)}</p>" for notice in notices)}</footer>
</body></html>
"""


def _linked(text: str) -> str:
    """`text` escaped, with its http(s) URLs as links."""
    return _URL.sub(r'<a href="\g<0>">\g<0></a>', escape(text))


def _table(decision: Decision) -> str:
    if not decision.considered:
        return ""
    shares = {candidate.mirror: candidate.share for candidate in decision.candidates}
    rows = []
    for entry in decision.considered:
        share = shares.get(entry.mirror)
        bar = ""
        if share is not None:
            bar = f'<span class="bar" style="width:{share * 2.5:.2f}rem"></span> {share:.0%}'
        why = escape(entry.reason) if entry.reason else ""
        rows.append(
            f"<tr{'' if entry.eligible else ' class=no'}><td>{escape(entry.mirror)}"
            f"<small>{why}</small><small>{escape(str(entry.cost))}</small></td>"
            f'<td class="n">{entry.cost.total_ms:.1f} ms</td><td>{bar}</td></tr>'
        )
    return (
        '<table><thead><tr><th>mirror</th><th class="n">cost</th><th>share</th></tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table>"
    )
