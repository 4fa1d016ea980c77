"""A folder's page: what stands in it and where its links lead."""

from __future__ import annotations

from dataclasses import replace

from heliostat.edge.forms.about import Listing, ListingEntry
from heliostat.edge.pages import listing_page
from tests.edge.pages.reading import Element, every, hrefs, parsed, text

FILE = ListingEntry(
    "a b.iso", "a%20b.iso", is_folder=False, size_bytes=756_023_296, mtime_s=1_749_213_000,
    has_sha256=True,
)  # fmt: skip
FOLDER = ListingEntry("11", "11/", is_folder=True)
ALIAS = ListingEntry("now.iso", "now.iso", is_folder=False, alias_of="/rel/11/a b.iso")
LISTING = Listing("/rel/ü/", "/rel/%C3%BC/", [FOLDER, ALIAS, FILE], 1234, publisher="Rescue")


def _rows(page: str) -> list[list[Element]]:
    return [list(row) for row in every(every(parsed(page), "tbody")[0], "tr")]


def test_a_file_has_its_size_its_time_and_links_to_check_it_and_to_its_mirrors() -> None:
    name, size, time, links = _rows(listing_page(LISTING))[2]
    assert text(name) == "a b.iso"
    assert hrefs(name) == ["a%20b.iso"]
    assert text(size) == "756 MB"
    assert size.get("title") == "756,023,296 bytes"
    assert text(time) == "2025-06-06 12:30"
    assert every(time, "time")[0].get("datetime") == "2025-06-06T12:30:00Z"
    assert hrefs(links) == ["a%20b.iso.sha256", "a%20b.iso.mirrorlist"]
    without = _rows(listing_page(replace(LISTING, entries=[replace(FILE, has_sha256=False)])))
    assert hrefs(without[0][3]) == ["a%20b.iso.mirrorlist"]


def test_a_folder_leads_into_it_and_an_alias_says_what_it_stands_for() -> None:
    folder, alias, _ = _rows(listing_page(LISTING))
    assert (text(folder[0]), hrefs(folder[0])) == ("11/", ["11/"])
    assert [text(cell) for cell in folder[1:]] == ["", "", ""]
    assert text(alias[0]) == "now.iso →stands for /rel/11/a b.iso"
    assert hrefs(alias[0]) == ["now.iso"]


def test_the_way_up_is_a_link_for_each_folder_above() -> None:
    document = parsed(listing_page(LISTING))
    way = every(document, "nav")[0]
    assert [(text(each), each.get("href")) for each in every(way, "a")] == [
        ("Rescue", "/"),
        ("rel", "/rel/"),
    ]
    assert text(every(document, "h1")[0]) == "ü/"
    assert "1,234 files here and below" in text(document)


def test_the_top_has_no_way_up_and_the_publishers_name() -> None:
    top = parsed(listing_page(Listing("/", "/", [FOLDER], 1, publisher="Rescue")))
    assert not every(top, "nav")
    assert text(every(top, "h1")[0]) == "Rescue"
    assert "1 file here and below" in text(top)
    assert text(every(parsed(listing_page(Listing("/", "/", [], 0))), "h1")[0]) == "All files"


def test_pages_of_a_large_folder_are_linked() -> None:
    middle = replace(LISTING, next_after="m%26m", is_first=False)
    way = every(parsed(listing_page(middle)), "nav")[1]
    assert [(text(each), each.get("href")) for each in every(way, "a")] == [
        ("First page", "/rel/%C3%BC/"),
        ("Next page", "?after=m%26m"),
    ]
    last = every(parsed(listing_page(replace(middle, next_after=""))), "nav")[1]
    assert hrefs(last) == ["/rel/%C3%BC/"]
    assert len(every(parsed(listing_page(LISTING)), "nav")) == 1


def test_an_empty_folder_says_so() -> None:
    empty = parsed(listing_page(replace(LISTING, entries=[])))
    assert not every(empty, "table")
    assert "This folder is empty." in text(empty)
