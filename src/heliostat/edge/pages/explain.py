"""One decision explained: who was considered, what each costs, why the choice fell as it did."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Final

from heliostat.edge.pages.shell import document
from heliostat.edge.pages.text import shown, web_href
from heliostat.model.decision import Answer, Decision

_STYLE: Final = """
main{max-width:48rem}
tr td:last-child,tr th:last-child{width:5.5rem;white-space:nowrap}
small{display:block;color:var(--dim)}
small:empty{display:none}
tr.no{opacity:.65}
.choice{font-weight:600}
""".strip()

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
    choice = f' <span class="choice">{shown(decision.choice)}</span>' if decision.choice else ""
    location = ""
    if decision.location:
        url = web_href(decision.location)
        location = f'<p><a href="{url}">{url}</a></p>\n'
    return document(
        f"{decision.path}: why this mirror",
        f"<h1>{shown(decision.path)}</h1>\n"
        f"<p>A client at {escape(decision.address)} ({escape(where)}; zone {decision.zone})\n"
        f"{_ANSWERS[decision.answer]}{choice}.</p>\n{location}{_table(decision)}\n",
        style=_STYLE,
        notices=notices,
    )


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
        state = "" if entry.eligible else ' class="no"'
        why = shown(entry.reason) if entry.reason else ""
        rows.append(
            f"<tr{state}><td>{shown(entry.mirror)}"
            f"<small>{why}</small><small>{escape(str(entry.cost))}</small></td>"
            f'<td class="n">{entry.cost.total_ms:.1f} ms</td><td>{bar}</td></tr>'
        )
    return (
        '<table><thead><tr><th scope="col">mirror</th><th scope="col" class="n">cost</th>'
        '<th scope="col">share</th></tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table>"
    )
