"""`/mirrorlist` and `/metalink`: what package managers ask for by path, or by repository.

Answers name only mirrors that hold what is asked for as it is now; a metalink, which lets the
client check what it gets, also those that were one step behind, last.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Final

from heliostat.edge import answers, folders
from heliostat.edge.answers import Answer
from heliostat.edge.clients import Client, locate
from heliostat.edge.content import CORS, OWN, VARY_ACCEPT, Content, Contents
from heliostat.edge.forms import lists, metalink3
from heliostat.edge.forms.about import Source
from heliostat.edge.forms.lists import ListFormat
from heliostat.edge.negotiate import BadQueryError, prefers_json, query_fields
from heliostat.edge.represent import Asker, Representations
from heliostat.edge.sourcing import Ordered, Sourcing, in_countries, over
from heliostat.edge.target import BadTargetError, quote, quote_text, split_target
from heliostat.model.errors import HeliostatError
from heliostat.model.templates import fill
from heliostat.routing.shares import HASH_BITS, choice_hash
from heliostat.state.opened import State
from heliostat.state.shards import FoundFile

MIRRORLIST: Final = b"mirrorlist"
METALINK: Final = b"metalink"
ORDER_BITS: Final = 5
"""Of the choice's hash: so many orders of the same list are kept ready for one zone."""

REPOMD: Final = b"repodata/repomd.xml"

_WORD: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,62}")
_COUNTRIES: Final = re.compile(r"[A-Za-z]{2}|global", re.IGNORECASE)
_PROTOCOLS: Final = ("http", "https")


class BadListError(HeliostatError):
    """A list can't be given as it was asked for. `status` is that of HTTP."""

    def __init__(self, status: int, text: str) -> None:
        self.status = status
        super().__init__(text)


@dataclass(frozen=True, slots=True)
class Asked:
    """A query, read."""

    path: bytes
    """On the edge, without leading slash; a folder's ends in one."""
    title: str
    countries: tuple[str, ...]
    protocols: tuple[str, ...]
    is_redirect: bool
    wants_time: bool
    format: ListFormat
    arches: tuple[str, ...]
    types: tuple[str, ...]
    client: Client


@dataclass(frozen=True, slots=True)
class Subject:
    """What is asked for: `holders` are the filesets that a mirror has to be in."""

    tree: int
    relative: bytes
    holders: tuple[int, ...]


class MirrorLists:
    """Of one state."""

    def __init__(
        self, state: State, sourcing: Sourcing, forms: Representations, contents: Contents
    ) -> None:
        self._state = state
        self._sourcing = sourcing
        self._forms = forms
        self._contents = contents

    def answer(self, kind: bytes, query: bytes, asker: Asker, *, may_say_ip: bool) -> Answer:
        """The answer to a query to `/mirrorlist` or `/metalink`; `kind` is which.

        `may_say_ip` is for trusted proxies: `ip=` asks for somebody else.
        """
        try:
            asked = self._read(query, asker, may_say_ip=may_say_ip)
        except BadListError as error:
            return answers.plain(error.status, f"# {error}\n")
        client = asked.client
        nearly = choice_hash(client.network, asked.path) >> HASH_BITS - ORDER_BITS
        key = (kind, query, asked.format, client.zone, client.is_ipv6, asker.is_https, nearly)
        content = self._contents.get(key)
        if content is not None and not asked.is_redirect:
            return content.answer(asker.fields)

        def work() -> Answer:
            try:
                make = self._metalink if kind == METALINK else self._list
                made = make(asked, replace(asker, client=client))
            except BadListError as error:
                return answers.plain(error.status, f"# {error}\n")
            if isinstance(made, Answer):
                return made
            return self._contents.keep(key, made).answer(asker.fields)

        if asked.path.endswith(b"/") and self._state.find(asked.path + REPOMD) is None:
            return answers.deferred(work)  # it looks through the folder
        return work()

    # the query

    def _read(self, query: bytes, asker: Asker, *, may_say_ip: bool) -> Asked:
        try:
            fields = query_fields(query)
        except BadQueryError as error:
            raise BadListError(400, str(error)) from None

        def word(name: str) -> str:
            return fields.get(name, "")

        path, title = self._subject_path(word("path"), word("repo"), word("arch"))
        client = asker.client
        if may_say_ip and word("ip"):
            try:
                client = locate(word("ip"), self._state.zones)
            except ValueError:
                raise BadListError(400, "ip= is no IP address") from None
        return Asked(
            path=path,
            title=title,
            countries=tuple(one.upper() for one in _words(word("country"), "country", _COUNTRIES)),
            protocols=_protocols(word("protocol")),
            is_redirect=word("redirect") == "1",
            wants_time=word("time") == "1",
            format=_format(word("format"), asker),
            arches=_words(word("arch"), "arch", _WORD),
            types=_words(word("type"), "type", _WORD),
            client=client,
        )

    def _subject_path(self, path: str, repo: str, arch: str) -> tuple[bytes, str]:
        """(path on the edge, what it is called in comments)."""
        if not repo:
            if not path:
                raise BadListError(400, "say what for: path=PATH, or repo=NAME and arch=ARCH")
            try:
                clean, _ = split_target(b"/" + quote(path.lstrip("/").encode("latin-1")))
            except BadTargetError as error:
                raise BadListError(400, str(error)) from None
            if self._state.find(clean) is None and clean and not clean.endswith(b"/"):
                clean += b"/"
            return clean, f"path = /{clean.decode('utf-8', 'replace')}"
        for tree in self._state.trees:
            for one in tree.repositories:
                if one.name != repo:
                    continue
                if "{arch}" in one.path and not _WORD.fullmatch(arch):
                    raise BadListError(400, f'repo "{repo}" has several architectures: say arch=')
                if one.arches and arch not in one.arches:
                    has = ", ".join(one.arches)
                    raise BadListError(404, f'repo "{repo}" has no arch "{arch}"; it has {has}')
                relative = fill(one.path, {"arch": arch.encode()})
                return tree.prefix.encode()[1:] + relative, f"repo = {repo} arch = {arch}"
        raise BadListError(404, f'there is no repo "{repo}" here')

    # the answers

    def _list(self, asked: Asked, asker: Asker) -> Content | Answer:
        subject = self._subject(asked.path)
        ordered = self._sourcing.turn_of(
            subject.tree, subject.holders, asked.path, asked.client, is_https=asker.is_https
        )
        ordered = self._sourcing.everyone(ordered, subject.holders, asked.client)
        sources = self._sourcing.sources(ordered, quote_text(subject.relative))
        sources = self._sourcing.costed(sources, ordered, asked.client)
        chosen = in_countries(over(sources, asked.protocols), asked.countries)
        comments = self._comments(asked, is_elsewhere=not chosen)
        chosen = chosen or over(sources, asked.protocols)
        if not sources:
            relative = quote_text(subject.relative)
            chosen = self._sourcing.of_edge(subject.tree, subject.holders, relative)
        if asked.is_redirect:
            if not chosen:
                return answers.NO_MIRROR
            return answers.redirect(302, answers.url_bytes(chosen[0].url))
        if asked.format is ListFormat.JSON:
            place = self._sourcing.place_of(asked.client)
            about = {
                "path": "/" + quote_text(asked.path),
                "client": {"country": place.country or None, "asn": place.asn or None},
            }
            text = lists.as_json(about, chosen)
            return Content.of(text.encode(), answers.JSON, OWN + VARY_ACCEPT + CORS)
        if asked.format is ListFormat.ZYPPER:
            body = lists.as_zypper(chosen)
            return Content.of(body.encode(), answers.JSON, OWN + VARY_ACCEPT + CORS)
        if asked.format is ListFormat.APT:
            text = lists.as_apt(chosen, asked.arches, asked.types)
        elif asked.format is ListFormat.PACMAN:
            text = lists.as_pacman(chosen, comments)
        else:
            text = lists.as_text(chosen, comments)
        return Content.of(text.encode(), answers.TEXT, OWN + VARY_ACCEPT)

    def _metalink(self, asked: Asked, asker: Asker) -> Content | Answer:
        path = asked.path + REPOMD if asked.path.endswith(b"/") else asked.path
        found = self._state.find(path)
        if found is None:
            raise BadListError(404, f"{_shown(path)} is not in the catalog")
        client, is_https = asked.client, asker.is_https
        ordered = self._sourcing.turn_of(
            found.tree, [found.fileset], path, client, is_https=is_https
        )
        about = self._forms.about(path, found, ordered, asker)
        sources = [*about.sources, *self._behind(path, found, ordered, client, is_https)]
        chosen = over(sources, asked.protocols)
        chosen = in_countries(chosen, asked.countries) or chosen
        if not chosen:
            return answers.NO_MIRROR
        text = metalink3.metalink3(
            about,
            b"",
            self._forms.alternates(found),
            self._state.published_at,
            metalink3.urls_of(chosen),
        )
        return Content.of(text.encode(), metalink3.MEDIA_TYPE, OWN)

    def _behind(
        self, path: bytes, found: FoundFile, ordered: Ordered, client: Client, is_https: bool
    ) -> list[Source]:
        """Mirrors that may have an earlier content, of which the metalink tells the digests."""
        replaced = self._state.names[found.tree].replaced.get(found.relative)
        if replaced is None:
            return []
        others = [index for index in replaced.behind if index not in ordered.turn]
        behind = self._sourcing.among(found.tree, others, path, client, is_https=is_https)
        return self._sourcing.sources(behind, quote_text(found.relative))

    def _subject(self, path: bytes) -> Subject:
        """Raises: BadListError: there is no such file or folder."""
        file = self._state.find(path)
        if file is not None:
            return Subject(file.tree, file.relative, (file.fileset,))
        marking = [self._state.find(marker) for marker in folders.markers(self._state, path)]
        found = [one for one in marking if one is not None]
        if found:
            tree, holders = found[0].tree, {one.fileset for one in found}
        else:
            held = folders.filesets_of(self._state, path)
            if held is None:
                raise BadListError(404, f"{_shown(path)} is no file or folder of the catalog")
            tree, holders = held
        prefix = self._state.trees[tree].prefix.encode()[1:]
        return Subject(tree, path[len(prefix) :], tuple(sorted(holders)))

    def _comments(self, asked: Asked, *, is_elsewhere: bool) -> list[str]:
        place = self._sourcing.place_of(asked.client)
        country = ",".join(asked.countries) or place.country or "unknown"
        comments = [f"{asked.title} country = {country}"]
        if is_elsewhere and asked.countries:
            comments.append(f"no mirror in {country} holds it: these are elsewhere")
        if asked.wants_time:
            comments.append(f"database creation time: {self._state.published_at.isoformat()}")
        return comments


def _words(text: str, name: str, form: re.Pattern[str]) -> tuple[str, ...]:
    words = tuple(filter(None, text.split(",")))
    for one in words:
        if not form.fullmatch(one):
            raise BadListError(400, f"{name}= is not a list of such words")
    return words


def _protocols(text: str) -> tuple[str, ...]:
    words = tuple(filter(None, text.lower().split(",")))
    if any(one not in _PROTOCOLS for one in words):
        raise BadListError(400, f"protocol= is any of {', '.join(_PROTOCOLS)}")
    return words


def _format(text: str, asker: Asker) -> ListFormat:
    if not text:
        return ListFormat.JSON if prefers_json(asker.fields.accept) else ListFormat.TEXT
    try:
        return ListFormat(text)
    except ValueError:
        known = ", ".join(one.value for one in ListFormat)
        raise BadListError(400, f"format= is one of {known}") from None


def _shown(path: bytes) -> str:
    return "/" + " ".join(path.decode("utf-8", "replace").split())
