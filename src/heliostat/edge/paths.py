"""What a path may be that is no file of the catalog.

In this order: an alias, a form of a file, a folder, a list of checksums, something that moved or
was removed. Nothing of a request gets into an answer but by what the state knows.
"""

from __future__ import annotations

from collections.abc import Callable

from heliostat.edge import answers, folders, limits
from heliostat.edge.answers import Answer
from heliostat.edge.content import (
    CORS,
    REVALIDATE,
    SHARED,
    VARY_ACCEPT,
    VARY_PACKED,
    Content,
    Contents,
)
from heliostat.edge.forms import checksums
from heliostat.edge.forms.about import Listing, ListingEntry
from heliostat.edge.forms.listing_json import listing_json
from heliostat.edge.negotiate import (
    BadQueryError,
    accepts_gzip,
    accepts_html,
    by_suffix,
    prefers_json,
    query_fields,
)
from heliostat.edge.pages import error_page, listing_page
from heliostat.edge.represent import Asker, Representations
from heliostat.edge.target import quote, quote_text
from heliostat.model.patterns import PathTest, path_test
from heliostat.model.templates import Match, fill, matcher
from heliostat.model.tree import AliasAnswer, Removed, Tree
from heliostat.state.opened import State

SUMS_NAMES = {name.upper().encode() + b"SUMS": name for name in checksums.DIGESTS}

MAX_MATCHED_BYTES = 1_024
"""Longer paths fit no template."""

AsFile = Callable[[bytes], Answer | None]
"""Answers a path as a file of the catalog would be."""


class Paths:
    """Of one state."""

    def __init__(self, state: State, forms: Representations, contents: Contents) -> None:
        self._state = state
        self._forms = forms
        self._contents = contents
        self._moved: list[list[tuple[Match, str]]] = [
            [(matcher(one.path), one.target) for one in tree.moved] for tree in state.trees
        ]
        self._removed: list[list[tuple[PathTest, Removed]]] = [
            [(path_test([one.path]), one) for one in tree.removed] for tree in state.trees
        ]

    def answer(self, path: bytes, query: bytes, asker: Asker, as_file: AsFile) -> Answer | None:
        """The answer to a path that isn't in the catalog; None when it is nothing at all."""
        if (found := self._alias(path, as_file)) is not None:
            return found
        if (asked := by_suffix(path)) is not None:
            base, form = asked
            if (file := self._state.find(base)) is not None:
                return self._forms.answer(form, base, file, asker, asked_as=path)
            if (target := self._target(base)) is not None:
                return answers.redirect(302, b"/" + quote(target[0]) + b"." + form.encode())
        if not path or path.endswith(b"/"):
            if folders.is_folder(self._state, path):
                return self._listing(path, query, asker)
        elif folders.is_folder(self._state, path + b"/"):
            return answers.redirect(301, b"/" + quote(path) + b"/")
        name = path.rpartition(b"/")[2]
        if name in SUMS_NAMES:
            return self._sums(path, name, asker)
        return self._gone(path, asker)

    def not_found(self, path: bytes, asker: Asker) -> Answer:
        """404: for browsers with the way to the nearest folder above that is there."""
        if not accepts_html(asker.fields.accept):
            return answers.NOT_FOUND
        above = path.rstrip(b"/")
        for _ in range(limits.FOLDERS_ABOVE):
            above = above.rpartition(b"/")[0]
            if not above or folders.is_folder(self._state, above + b"/"):
                break
        else:
            above = b""
        tree, _ = self._tree_of(path)
        page = error_page(
            404,
            path="/" + path.decode("utf-8", "replace"),
            link="/" + quote_text(above) + "/" if above else "/",
            publisher=self._state.trees[tree].publisher if tree >= 0 else "",
        )
        return answers.plain(404, page, content_type=answers.HTML, extra=VARY_ACCEPT)

    def unavailable(self, path: bytes, asker: Asker) -> Answer:
        """503: in the catalog, and nobody can serve it now."""
        if not accepts_html(asker.fields.accept):
            return answers.NO_MIRROR
        page = error_page(503, path="/" + path.decode("utf-8", "replace"))
        wait = b"Retry-After: 60\r\n" + VARY_ACCEPT
        return answers.plain(503, page, content_type=answers.HTML, extra=wait)

    # aliases, and what isn't there any more

    def _target(self, path: bytes) -> tuple[bytes, AliasAnswer] | None:
        """(path on the edge, how to answer) of an alias."""
        tree, relative = self._tree_of(path)
        if tree < 0:
            return None
        alias = self._state.names[tree].aliases.get(relative)
        if alias is None:
            return None
        return path[: len(path) - len(relative)] + alias[0], alias[1]

    def _alias(self, path: bytes, as_file: AsFile) -> Answer | None:
        target = self._target(path)
        if target is None:
            return None
        if target[1] is AliasAnswer.MIRROR:
            return as_file(target[0])
        return answers.redirect(302, b"/" + quote(target[0]))

    def _gone(self, path: bytes, asker: Asker) -> Answer | None:
        tree, relative = self._tree_of(path)
        if tree < 0 or len(path) > MAX_MATCHED_BYTES:
            return None
        prefix = path[: len(path) - len(relative)]
        for match, target in self._moved[tree]:
            fields = match(relative)
            if fields is not None:
                new = prefix + fill(target, fields)
                if new != path and self._is_there(new):
                    return answers.redirect(301, b"/" + quote(new))
        for test, removed in self._removed[tree]:
            if test(relative):
                return self._removed_page(path, prefix, removed, self._state.trees[tree], asker)
        return None

    def _removed_page(
        self, path: bytes, prefix: bytes, removed: Removed, tree: Tree, asker: Asker
    ) -> Answer:
        successor = quote_text(prefix + removed.successor.encode()) if removed.successor else ""
        said = removed.hint or "It was removed and won't come back."
        if accepts_html(asker.fields.accept):
            page = error_page(
                410,
                path="/" + path.decode("utf-8", "replace"),
                hint=said,
                link=f"/{successor}" if successor else "",
                publisher=tree.publisher,
            )
            return answers.plain(410, page, content_type=answers.HTML, extra=VARY_ACCEPT)
        more = f"Take /{successor} instead.\n" if successor else ""
        return answers.plain(410, f"{said}\n{more}", extra=VARY_ACCEPT)

    def _is_there(self, path: bytes) -> bool:
        return (
            self._state.find(path) is not None
            or self._target(path) is not None
            or (path.endswith(b"/") and folders.is_folder(self._state, path))
        )

    def _tree_of(self, path: bytes) -> tuple[int, bytes]:
        """(tree, path relative to it); (-1, path) when it is in none."""
        for tree, prefix, _ in self._state.mounts:
            if path.startswith(prefix):
                return tree, path[len(prefix) :]
        return -1, path

    # folders

    def _listing(self, path: bytes, query: bytes, asker: Asker) -> Answer:
        try:
            after = query_fields(query).get("after", "").encode("latin-1", "replace")
        except BadQueryError as error:
            return answers.plain(400, f"Bad request: {error}.\n")
        as_json = prefers_json(asker.fields.accept)
        is_packed = accepts_gzip(asker.fields.accept_encoding)  # 500 kB would be 25
        key = ("listing", path, after, as_json, is_packed)
        content = self._contents.get(key)
        if content is not None:
            return content.answer(asker.fields)
        fields_of_request = asker.fields

        def make() -> Answer:
            listing = self._page(path, after)
            if as_json:
                text, media_type, about = listing_json(listing), answers.JSON, CORS
            else:
                text, media_type, about = listing_page(listing), answers.HTML, b""
            about += SHARED + VARY_PACKED
            made = Content.of(text.encode(), media_type, about, is_packed=is_packed)
            return self._contents.keep(key, made).answer(fields_of_request)

        return answers.deferred(make)

    def _page(self, path: bytes, after: bytes) -> Listing:
        found, has_more = folders.page(self._state, path, after)
        tree, _ = self._tree_of(path)
        entries = [
            ListingEntry(
                name=entry.name.decode("utf-8", "replace"),
                href=quote_text(entry.key)
                if b":" not in entry.name
                else f"./{quote_text(entry.key)}",
                is_folder=entry.is_folder,
                size_bytes=entry.size_bytes,
                mtime_s=entry.mtime_s,
                has_sha256=entry.has_sha256,
                alias_of="/" + entry.target.decode("utf-8", "replace") if entry.target else "",
            )
            for entry in found
        ]
        return Listing(
            path="/" + path.decode("utf-8", "replace"),
            href="/" + quote_text(path),
            entries=entries,
            files_below=folders.files_below(self._state, path),
            next_after=_query_value(found[-1].key) if has_more else "",
            is_first=not after,
            publisher=self._state.trees[tree].publisher if tree >= 0 else "",
        )

    def _sums(self, path: bytes, name: bytes, asker: Asker) -> Answer | None:
        tree, _ = self._tree_of(path)
        folder = path[: len(path) - len(name)]
        wanted = SUMS_NAMES[name]
        if tree < 0 or wanted not in self._state.trees[tree].sums:
            return None
        key = ("sums", path)
        content = self._contents.get(key)
        if content is not None:
            return content.answer(asker.fields)
        fields = asker.fields

        def make() -> Answer:
            body, newest_s = self._sums_of(folder, wanted)
            if not body:
                return answers.NOT_FOUND
            made = Content.of(body, answers.TEXT, REVALIDATE, modified_s=newest_s)
            return self._contents.keep(key, made).answer(fields)

        return answers.deferred(make)

    def _sums_of(self, folder: bytes, wanted: str) -> tuple[bytes, int]:
        """(the list, when its newest file is of); nothing for folders with too many files."""
        lines, newest_s = [], -1
        for entry in folders.entries(self._state, folder):
            file = None if entry.is_folder else self._state.find(folder + entry.name)
            if file is None:
                continue
            digest = self._forms.digests(file).get(wanted)
            if digest is not None:
                lines.append((digest, entry.name))
                newest_s = max(newest_s, file.mtime_s)
            if len(lines) > limits.SUMS_FILES:
                return b"", -1
        return checksums.sums(lines), newest_s


def _query_value(raw: bytes) -> str:
    """`quote` for a value in a query, where more than in a path has a meaning."""
    quoted = quote_text(raw)
    return quoted.replace("&", "%26").replace("+", "%2B").replace(";", "%3B").replace("=", "%3D")
