"""A file's page: ways to get it, mirrors with the reason of their order, a map."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliostat.edge.forms.about import Source
from heliostat.edge.pages import mirrors_page
from heliostat.edge.pages.countries import NAMES, country_name, flag
from heliostat.edge.pages.reasons import reason
from heliostat.edge.pages.worldmap import Frame, frame_of
from heliostat.geo.countries import CONTINENT_OF
from heliostat.geo.land import UNITS_PER_DEGREE, WIDTH_UNITS, on_map
from heliostat.model.decision import CostParts
from heliostat.model.place import Place
from tests.edge.pages.reading import Element, every, hrefs, parsed, text
from tests.edge.pages.samples import GERMANY, about, bare

SVG = "{http://www.w3.org/2000/svg}"


def _rows(document: Element) -> list[list[str]]:
    return [
        [text(cell) for cell in row]
        for body in every(document, "tbody")
        for row in every(body, "tr")
    ]


def _links(page: str) -> list[tuple[str, str]]:
    return [(text(each), each.get("href")) for each in every(parsed(page), "a")]


def test_there_are_buttons_only_for_what_there_is() -> None:
    path = "/releases/11/rescue-11.iso"
    links = _links(mirrors_page(about()))
    for button in (
        ("Download", path),
        ("Torrent", f"{path}.torrent"),
        ("Magnet", about().magnet),
        ("Metalink", f"{path}.meta4"),
        ("zsync", f"{path}.zsync"),
    ):
        assert button in links
    few = {name for name, _ in _links(mirrors_page(bare()))}
    assert few == {"All files", "Download", "Metalink"}


def test_all_digests_stand_there_the_usual_one_first() -> None:
    sample = about()
    document = parsed(mirrors_page(sample))
    names = [text(each) for each in every(document, "dt")]
    assert names == ["SHA-256", "SHA-512", "SHA-1", "MD5", "Signature"]
    codes = [text(each) for each in every(document, "code")]
    assert codes[0] == sample.digests["sha256"].hex()
    assert hrefs(every(document, "dd")[-1]) == ["/releases/11/rescue-11.iso.asc"]


def test_mirrors_stand_in_their_order_with_what_is_known_of_them() -> None:
    rows = _rows(parsed(mirrors_page(about())))
    assert [row[0] for row in rows] == ["1", "2", "3", "4", "5", "6"]
    _, name, country, distance, estimate, share, why = rows[0]
    assert name == "ftp.fau.exampleFriedrich-Alexander-Universität"
    assert (country, distance, estimate) == (f"{flag('DE')} Germany", "170 km", "9 ms")
    assert share == " 50%"
    assert why == "In your provider's network (AS680): nothing is nearer."
    assert rows[1][6].endswith("+12 ms so that its line and its bytes last.")
    assert rows[2][6].endswith("+3 ms as it is reached by IPv4 only.")
    assert rows[3][5] == ""
    assert rows[3][6].startswith("On another continent: stands by, ")
    assert rows[5] == [
        "6", "origin.example", "", "", "", "",
        "The project's own server, for when no mirror can.",
    ]  # fmt: skip


def test_many_mirrors_unfold_with_their_ranks() -> None:
    document = parsed(mirrors_page(about(count=60)))
    assert [row[0] for row in _rows(document)] == [str(rank) for rank in range(1, 62)]
    unfolding = every(document, "details")[0]
    assert text(every(unfolding, "summary")[0]) == "49 more"
    assert len(_rows(unfolding)) == 49


def test_without_mirrors_it_says_so() -> None:
    document = parsed(mirrors_page(bare()))
    assert "No mirror has this file yet" in text(document)
    assert not every(document, "table")
    assert not every(document, f"{SVG}svg")


@pytest.mark.parametrize(
    ("cost", "place", "share", "said"),
    [
        (CostParts(0, 0, 0, 0, 0, 0), Place(), 1.0, "Made for your network: nothing is nearer."),
        (
            CostParts(12, 0, 0, 0, 0, 0),
            Place("DE", "EU"),
            0.4,
            "In your country: 7 ms behind the best.",
        ),
        (
            CostParts(12, 6, 0, 0, 0, 0),
            Place("FR", "EU"),
            0.0,
            "On your continent: stands by, 13 ms behind the best.",
        ),
        (
            CostParts(12, 6, 4, 0, 0, 0.2),
            Place("JP", "AS"),
            0.0,
            "On another continent: stands by, 17 ms behind the best.",
        ),
        (
            CostParts(5, 0, 0, 0, 0, 0),
            Place(),
            1.0,
            "Where it stands isn't known: nothing is nearer.",
        ),
    ],
)
def test_a_reason_says_where_and_how_far_behind(
    cost: CostParts, place: Place, share: float, said: str
) -> None:
    source = Source("https://m.example/", "m", "", place, cost, None, share)
    assert reason(source, GERMANY, 5.0) == said


def test_a_reader_whose_place_is_unknown_is_told_so() -> None:
    source = Source("https://m.example/", "m", "", GERMANY, CostParts(9, 6, 4, 0, 0, 0))
    assert reason(source, Place(), 0.0) == (
        "Your place isn't known: stands by, 19 ms behind the best."
    )


def test_the_map_shows_the_reader_and_the_mirrors_and_says_so_in_words() -> None:
    picture = every(parsed(mirrors_page(about())), f"{SVG}svg")[0]
    titles = [text(each) for each in every(picture, f"{SVG}title")]
    assert sorted(titles) == [
        "You, about here: Germany",
        "ftp.fau.example: 50%",
        "ftp.nluug.example: 20%",
        "mirror.netcologne.example: 30%",
        "mirror.riken.example",
        "mirror.uwaterloo.example",
    ]
    assert picture.get("aria-label") == (
        "Map of the mirrors: 2 in Germany, 1 in Netherlands, 1 in Japan, 1 in Canada;"
        " you are in Germany."
    )


def test_a_reader_whose_place_is_unknown_gets_a_map_without_one() -> None:
    page = mirrors_page(about(client=Place()))
    picture = every(parsed(page), f"{SVG}svg")[0]
    assert not [each for each in picture.iter() if each.get("class") in ("you", "near", "ray")]
    assert "with a halo" not in page
    nowhere = replace(about(), sources=[replace(each, place=Place()) for each in about().sources])
    assert not every(parsed(mirrors_page(nowhere)), f"{SVG}svg")


POSITIONS = st.lists(
    st.tuples(st.floats(-90, 90), st.floats(-180, 180)).map(lambda each: on_map(*each)),
    min_size=1,
    max_size=9,
)


@given(POSITIONS)
def test_a_maps_frame_lies_on_the_map_and_has_everybody_in_it(
    points: list[tuple[float, float]],
) -> None:
    frame = frame_of(points)
    assert 0 <= frame.left <= frame.left + frame.width <= WIDTH_UNITS + 0.01
    assert frame.height <= frame.width
    if frame.width < WIDTH_UNITS:
        for x, y in points:
            assert frame.left <= x <= frame.left + frame.width
            assert frame.top <= y <= frame.top + frame.height


def test_near_mirrors_get_a_near_map_and_far_ones_the_world() -> None:
    near = frame_of([on_map(48, 11), on_map(52, 5)])
    assert near.width == 80 * UNITS_PER_DEGREE
    assert frame_of([on_map(48, 11), on_map(-33, 151)]) == Frame(
        0, 6 * UNITS_PER_DEGREE, WIDTH_UNITS, 141 * UNITS_PER_DEGREE
    )


def test_every_country_has_a_name_and_a_flag() -> None:
    assert set(NAMES) == set(CONTINENT_OF)
    assert all(name and not name[0].islower() for name in NAMES.values())
    assert country_name("DE") == "Germany"
    assert flag("DE") == "\U0001f1e9\U0001f1ea"
    assert (country_name("??"), flag("??"), country_name("")) == ("??", "", "")
