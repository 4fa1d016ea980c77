"""Names are strangers' bytes: whatever they are, they stay the words of the page they stand on."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from heliostat.edge.pages import error_page, explain_page, listing_page, mirrors_page
from heliostat.edge.pages.text import plain
from tests.edge.pages.reading import every, hrefs, parsed, shape, text
from tests.edge.pages.samples import STRANGE_NAMES, about, decision, listing

NAMES = st.one_of(
    st.text(st.characters(codec=None), min_size=1, max_size=60),
    st.text("<>&\"'`=/ -!\x00\n\u202e\ud800;", min_size=1, max_size=40),
    st.sampled_from(STRANGE_NAMES),
    st.tuples(st.sampled_from(STRANGE_NAMES), st.text(max_size=9)).map("".join),
).map(lambda name: name.replace("/", "\u2215"))

BYTES = st.binary(min_size=1, max_size=60).map(lambda raw: raw.decode("utf-8", "replace"))


def _is_said(name: str, words: Sequence[str]) -> bool:
    return plain(name) in words


@given(st.lists(NAMES | BYTES.map(lambda name: name.replace("/", "")), min_size=1, max_size=4))
@settings(deadline=None)
def test_no_name_breaks_out_of_a_listing(names: list[str]) -> None:
    names = [name or "x" for name in names]
    document = parsed(listing_page(listing(names)))
    usual = parsed(listing_page(listing(["x"] * len(names))))
    assert list(shape(document)) == list(shape(usual))
    said = [text(each) for each in every(every(document, "tbody")[0], "bdi")]
    wanted = [each for name in names for each in (name, name, f"/releases/{name}", name)]
    assert said == [plain(each) for each in wanted]


@given(NAMES | BYTES.map(lambda name: name.replace("/", "") or "x"))
@settings(deadline=None)
def test_no_name_breaks_out_of_a_files_page(name: str) -> None:
    document = parsed(mirrors_page(about(name)))
    assert list(shape(document)) == list(shape(parsed(mirrors_page(about("x")))))
    assert text(every(document, "h1")[0]) == plain(name)


@given(NAMES, NAMES, NAMES)
@settings(deadline=None)
def test_no_mirror_or_sponsor_breaks_out_either(mirror: str, sponsor: str, url: str) -> None:
    sample = about()
    changed = replace(sample.sources[0], mirror=mirror, sponsor=sponsor, url=f"https://{url}")
    page = mirrors_page(replace(sample, sources=[changed, *sample.sources[1:]]))
    assert list(shape(parsed(page))) == list(shape(parsed(mirrors_page(sample))))
    notice = mirrors_page(replace(sample, sources=[replace(changed, url=f"javascript:{url}")]))
    assert not [href for href in hrefs(parsed(notice)) if href.startswith("javascript:")]


@given(NAMES, NAMES, NAMES, NAMES)
@settings(deadline=None)
def test_no_path_or_hint_breaks_out_of_an_error(
    path: str, hint: str, link: str, publisher: str
) -> None:
    document = parsed(error_page(410, path=path, hint=hint, link=link, publisher=publisher))
    usual = parsed(error_page(410, path="/x", hint="x", link="/x", publisher="x"))
    assert list(shape(document)) == list(shape(usual))
    words = [text(each) for each in document.iter()]
    assert _is_said(path, words)
    assert _is_said(hint, words)


@given(NAMES)
@settings(deadline=None)
def test_no_path_breaks_out_of_an_explanation(path: str) -> None:
    document = parsed(explain_page(decision(path), ()))
    assert list(shape(document)) == list(shape(parsed(explain_page(decision("x"), ()))))
    assert text(every(document, "h1")[0]) == plain(path)


@given(st.text(st.characters(codec=None)))
def test_what_is_shown_has_nothing_that_can_be_unseen(name: str) -> None:
    seen = plain(name)
    assert len(seen) == len(name)
    for letter in seen:
        assert unicodedata.category(letter) not in ("Cc", "Cs", "Zl", "Zp")
        assert unicodedata.bidirectional(letter) not in (
            *("LRE", "RLE", "LRO", "RLO", "PDF"),
            *("LRI", "RLI", "FSI", "PDI"),
        )
    seen.encode()
