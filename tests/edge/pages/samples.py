"""What pages are made of, for tests: folders and files with names good and bad, real places."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from urllib.parse import quote

from heliostat.edge.forms.about import AboutFile, Listing, ListingEntry, Source
from heliostat.edge.pages import error_page, explain_page, listing_page, mirrors_page
from heliostat.model.decision import Answer, Candidate, Considered, CostParts, Decision
from heliostat.model.place import Place, distance_km

NOTICES = ("IP Geolocation by DB-IP (https://db-ip.com)", "AS numbers <b>by</b> RouteViews")

STRANGE_NAMES = (
    "a" * 255,
    "W" * 251 + ".iso",
    "<script>alert(1)</script>",
    "\"'><img src=x onerror=alert(1)>",
    "&amp;&#60;b&#62;",
    "\u202egnp.exe",
    "تحميل النظام.iso",
    "日本語のファイル名" * 20,
    "no\x00\x1b[31mcontrol\r\n\tnewline",
    "bad\ufffd\ufffdutf8",
    "half\ud800",
    "$(touch pwned) `id` ; rm 'x' \\",
    "javascript:alert(1)",
    "-rf",
    "noncharacter\ufdd0\U0001ffff",
    " ",
    "--><!--",
)

_MIRRORS = (
    ("ftp.fau.example", "Friedrich-Alexander-Universität", "DE", "EU", 49.59, 11.0, 680),
    ("mirror.netcologne.example", "NetCologne", "DE", "EU", 50.94, 6.96, 8422),
    ("ftp.nluug.example", "NLUUG & friends", "NL", "EU", 52.37, 4.9, 1103),
    ("mirror.riken.example", "", "JP", "AS", 35.68, 139.77, 2907),
    ("mirror.uwaterloo.example", "<i>Waterloo</i>", "CA", "NA", 43.47, -80.54, 12093),
)

GERMANY = Place("DE", "EU", "Bavaria", 680, 48.14, 11.58)


def sources(client: Place, path: str, count: int = len(_MIRRORS)) -> list[Source]:
    """Mirrors in turn, three of them with a share, and the project's own server."""
    shares = (0.5, 0.3, 0.2)
    found = []
    for index in range(count):
        name, sponsor, country, continent, latitude, longitude, asn = _MIRRORS[
            index % len(_MIRRORS)
        ]
        far = None
        if client.latitude is not None and client.longitude is not None:
            far = distance_km(client.latitude, client.longitude, latitude, longitude)
        cost = CostParts(
            distance_ms=8 + (far or 5000) * 0.016,
            country_ms=0 if country == client.country else 6,
            continent_ms=0 if continent == client.continent else 4,
            as_ms=-2 if asn == client.asn else 0,
            family_ms=3 if index == 2 else 0,
            price_ms=12.5 if index == 1 else 0,
        )
        found.append(
            Source(
                f"https://{name}/tree{path}",
                name,
                sponsor,
                Place(country, continent, "", asn, latitude, longitude),
                cost,
                far,
                shares[index] if index < len(shares) else 0.0,
            )
        )
    return [*found, Source(f"https://origin.example{path}", "")]


def about(
    name: str = "rescue-11.iso", *, client: Place = GERMANY, count: int = len(_MIRRORS)
) -> AboutFile:
    """A file that has everything."""
    href = "/releases/11/" + quote(name, safe="", errors="replace")
    return AboutFile(
        href=href,
        name=name,
        size_bytes=906_100_736,
        mtime_s=1_749_213_000,
        public_url="https://dl.example.org/",
        sources=sources(client, href, count),
        client_place=client,
        digests={
            algorithm: hashlib.new(algorithm, b"x", usedforsecurity=False).digest()
            for algorithm in ("md5", "sha1", "sha256", "sha512")
        },
        signature_href=f"{href}.asc",
        magnet="magnet:?xt=urn:btih:" + "ab" * 20 + "&dn=" + quote(name, safe="", errors="replace"),
        has_zsync=True,
        publisher="Rescue & Co",
        publisher_url="https://www.example.org/?a=b&c=d",
        notices=NOTICES,
    )


def bare() -> AboutFile:
    """A file of which nothing more is known."""
    return AboutFile("/x", "x", 5, 0, "http://h/", [], Place())


def entries(names: Sequence[str] = STRANGE_NAMES) -> list[ListingEntry]:
    """A folder, an alias and a file of each name."""
    found = []
    for index, name in enumerate(names):
        href = quote(name, safe="", errors="replace")
        found += [
            ListingEntry(name, f"{href}/", is_folder=True),
            ListingEntry(name, href, is_folder=False, alias_of=f"/releases/{name}"),
            ListingEntry(
                name,
                href,
                is_folder=False,
                size_bytes=1000**index if index < 6 else index,
                mtime_s=1_700_000_000 + index,
                has_sha256=index % 2 == 0,
            ),
        ]
    return found


def listing(names: Sequence[str] = STRANGE_NAMES) -> Listing:
    path = f"/releases/{names[0]}/" if names else "/releases/"
    return Listing(
        path=path,
        href=quote(path, errors="replace"),
        entries=entries(names),
        files_below=12_345,
        next_after="a%26b",
        is_first=False,
        publisher="Rescue & Co",
        notices=NOTICES,
    )


def decision(path: str) -> Decision:
    near = CostParts(10, 0, 0, 0, 0, 0)
    return Decision(
        path=path,
        address="192.0.2.1",
        place=GERMANY,
        zone=3,
        answer=Answer.MIRROR,
        choice="ftp.fau.example",
        location="https://ftp.fau.example/<x>",
        candidates=(Candidate("ftp.fau.example", near.total_ms, 1.0),),
        considered=(
            Considered("ftp.fau.example", True, "", near),
            Considered("b" * 200, False, "it doesn't <b>hold</b> the file", near),
        ),
    )


def all_pages() -> dict[str, str]:
    """Every kind of page, each at its worst."""
    long = "W" * 255
    return {
        "listing": listing_page(listing()),
        "listing-empty": listing_page(Listing("/a/", "/a/", [], 0)),
        "listing-root": listing_page(Listing("/", "/", entries(["tree"]), 1)),
        "mirrors": mirrors_page(about()),
        "mirrors-many": mirrors_page(about(count=60)),
        "mirrors-long": mirrors_page(about(long)),
        "mirrors-hostile": mirrors_page(about("".join(STRANGE_NAMES[2:7]))),
        "mirrors-nowhere": mirrors_page(about(client=Place())),
        "mirrors-bare": mirrors_page(bare()),
        "gone-404": error_page(404, path=f"/{long}", link=f"/{long}/"),
        "gone-410": error_page(
            410, path="/<a>", hint="Faulty <kernel>.", link="/12/", publisher="Rescue"
        ),
        "gone-503": error_page(503, path="/x"),
        "gone-400": error_page(400, path="/x"),
        "explain": explain_page(decision(f"/iso/{long}"), NOTICES),
    }
