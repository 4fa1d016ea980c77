"""The forms of one file: metalinks, torrent, checksums, the list of its mirrors, its own bytes.

Each is made once for a file (and zone, where it depends on who asks) and kept ready in bounded
space; what takes longer than redirects may wait for is made beside the loop.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from heliostat.edge import answers, limits
from heliostat.edge.answers import Answer
from heliostat.edge.clients import Client
from heliostat.edge.content import (
    CORS,
    OWN,
    REVALIDATE,
    SHARED,
    VARY_ACCEPT,
    Composed,
    Content,
    Contents,
)
from heliostat.edge.forms import checksums, lists, metalink3, metalink4, torrent
from heliostat.edge.forms.about import AboutFile
from heliostat.edge.forms.xml import escape
from heliostat.edge.negotiate import Form, accepts_html, prefers_json
from heliostat.edge.pages import mirrors_page
from heliostat.edge.request import Fields
from heliostat.edge.sourcing import Ordered, Sourcing
from heliostat.edge.target import quote_text
from heliostat.edge.ways import SALT_BITS, Lane, path_key
from heliostat.model.catalog import PIECE_BYTES
from heliostat.state.opened import State
from heliostat.state.records import unpack
from heliostat.state.shards import (
    FLAG_BODY,
    FLAG_SIGNED,
    FLAG_TORRENT,
    FLAG_ZSYNC,
    PLAIN_BYTES,
    FoundFile,
)

ZSYNC_TYPE = "application/x-zsync"
BYTES_TYPE = "application/octet-stream"
SIGNATURE_BEGIN = b"-----BEGIN PGP"

_BETWEEN = "\0"
"""Stands for what goes by who asks; no document has it."""

PLAIN_QUERY = "?redirect"
"""At a file's own URL: the file, whatever else the client accepts. aria2 would get its metalink
again and again."""

NO_FIELDS = Fields()

_TEXT_SUFFIXES = (b".txt", b".sha256", b".sha512", b".sha1", b".md5", b".asc", b"SUMS", b"SUM")


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks for a form."""

    client: Client
    is_https: bool
    fields: Fields


class Representations:
    """Of the files of one state."""

    def __init__(
        self, state: State, sourcing: Sourcing, public_url: str, contents: Contents
    ) -> None:
        """`public_url` is the edge's own, ending in a slash; `contents` of this state alone."""
        self._state = state
        self._sourcing = sourcing
        self._public_url = public_url
        self._contents = contents
        self._lines: dict[bytes, tuple[int, int, int, bytes, int]] = {}
        """Request lines of metalinks: tree, fileset, key, relative path, number of the file."""

    def body(self, found: FoundFile, fields: Fields) -> Answer | None:
        """A small file's own bytes; None when the state hasn't got them."""
        key = ("body", found.number)
        content = self._contents.get(key)
        if content is None:
            body = self._state.record(found, "bodies")
            if body is None:
                return None
            content = self._contents.keep(
                key,
                Content.of(
                    body,
                    _type_of(found.relative, body),
                    REVALIDATE + answers.digest_fields(found.sha256),
                    modified_s=found.mtime_s,
                ),
            )
        return content.answer(fields)

    def answer(
        self,
        form: Form,
        path: bytes,
        found: FoundFile,
        asker: Asker,
        *,
        is_negotiated: bool = False,
        asked_as: bytes = b"",
    ) -> Answer | None:
        """The form of a file; None when this file has no such form.

        `is_negotiated` says that the file was asked for, and the form only accepted; `asked_as` is
        the path that named the form by its suffix, if it did.
        """
        fields = asker.fields
        if form in checksums.DIGESTS:
            return self._of_file(form, found, fields, self._checksum)
        if form is Form.ZSYNC:
            return self._of_file(form, found, fields, self._zsync)
        if form in (Form.TORRENT, Form.MAGNET) and not found.flags & FLAG_TORRENT:
            return None
        if form is Form.META4:
            if asked_as and not path.translate(None, PLAIN_BYTES):
                self._note_line(b"GET /" + asked_as, path, found)
            return self._meta4(path, found, asker, is_negotiated=is_negotiated)
        kind = _list_kind(fields) if form is Form.MIRRORLIST else ""
        ordered = self._ordered(path, found, asker)
        if form is Form.METALINK and not self._has_sources(ordered, found):
            return answers.NO_MIRROR
        key = (form, kind, found.number, ordered.position, *_way(asker))
        content = self._contents.get(key)
        if content is not None:
            return content.answer(fields)

        def make() -> Content:
            return self._contents.keep(key, self._make(form, kind, path, found, ordered, asker))

        pieces = found.size_bytes // PIECE_BYTES
        if form is Form.MIRRORLIST or pieces > limits.INLINE_PIECES:
            return answers.deferred(lambda: make().answer(fields))
        return make().answer(fields)

    def _note_line(self, line: bytes, path: bytes, found: FoundFile) -> None:
        if len(self._lines) >= limits.METALINK_LINES:
            self._lines.clear()
        self._lines[line] = (
            found.tree,
            found.fileset,
            path_key(path),
            found.relative,
            found.number,
        )

    def metalink(self, line: bytes, lane: Lane, own: tuple[Lane, Lane]) -> Answer | None:
        """The metalink that a plain request line asks for, as the long way would give it.

        None when the long way has to: for the first time, and where nobody is near. `lane` and
        `own` are as for `FastLane.redirect`; blocks with conditions have no lane.
        """
        ready = self._lines.get(line)
        if ready is None:
            return None
        tree, fileset, key, relative, number = ready
        mine = lane if lane.shared is not None else own[lane.is_https]
        shared = mine.shared
        if shared is None:
            return None
        composed = self._contents.composed((Form.META4, number, shared.is_https, False))
        if composed is None:
            return None
        salt = mine.salt if mine is lane else mine.salt ^ lane.salt
        way = (shared.zone, shared.is_ipv6, shared.is_https)
        ordered = self._sourcing.by_choice(tree, fileset, (key ^ salt) >> SALT_BITS, way)
        if not ordered.turn:
            return None
        urls, tag = self._sourcing.elements(ordered, relative, metalink4.url_front, 1)
        return composed.answer(urls, tag, NO_FIELDS)

    def _has_sources(self, ordered: Ordered, found: FoundFile) -> bool:
        """A metalink names at least one URL (RFC 5854 §4.1.2)."""
        sourcing = self._sourcing
        return (
            bool(ordered.turn)
            or bool(sourcing.of_edge(found.tree, [found.fileset], ""))
            or bool(sourcing.of_project(found.tree, found.relative, "", is_https=ordered.is_https))
        )

    def _ordered(self, path: bytes, found: FoundFile, asker: Asker) -> Ordered:
        return self._sourcing.turn_of(
            found.tree, [found.fileset], path, asker.client, is_https=asker.is_https
        )

    # what is the same for everybody

    def _of_file(
        self,
        form: Form,
        found: FoundFile,
        fields: Fields,
        make: Callable[[Form, FoundFile], Content | None],
    ) -> Answer | None:
        key = (form, found.number)
        content = self._contents.get(key)
        if content is None:
            content = make(form, found)
            if content is None:
                return None
            self._contents.keep(key, content)
        return content.answer(fields)

    def _checksum(self, form: Form, found: FoundFile) -> Content | None:
        digest = self.digests(found).get(form.value)
        if digest is None:
            return None
        name = found.relative.rpartition(b"/")[2]
        line = checksums.line(digest, name)
        return Content.of(line, answers.TEXT, REVALIDATE, modified_s=found.mtime_s)

    def _zsync(self, form: Form, found: FoundFile) -> Content | None:
        control = self._state.record(found, "zsyncs") if found.flags & FLAG_ZSYNC else None
        if control is None:
            return None
        return Content.of(control, ZSYNC_TYPE, SHARED, modified_s=found.mtime_s)

    def digests(self, found: FoundFile) -> dict[str, bytes]:
        """All that is known, by hashlib name, the strongest first."""
        known = unpack(self._state.record(found, "details") or b"")
        if found.sha256 is not None:
            known["sha256"] = found.sha256
        return {name: known[name] for name in ("sha512", "sha256", "sha1", "md5") if name in known}

    # what goes by who asks

    def _make(
        self,
        form: Form,
        kind: str,
        path: bytes,
        found: FoundFile,
        ordered: Ordered,
        asker: Asker,
    ) -> Content:
        updated = self._state.published_at
        about = self.about(path, found, ordered, asker)
        if form is Form.METALINK:
            text = metalink3.metalink3(
                about,
                self._pieces(found).get("pieces", b""),
                self.alternates(found),
                updated,
                metalink3.urls_of(about.sources),
            )
            saved = _disposition(f"{about.name}.metalink")
            return Content.of(text.encode(), metalink3.MEDIA_TYPE, OWN + VARY_ACCEPT + saved)
        if form is Form.MAGNET:
            return Content.of(f"{about.magnet}\n".encode(), answers.TEXT, OWN)
        if form is Form.TORRENT:
            seeds = [source.url for source in about.sources]
            body = self._torrent(found).file(self._url_of(about, "torrent"), seeds)
            saved = _disposition(f"{about.name}.torrent")
            return Content.of(body, torrent.MEDIA_TYPE, OWN + saved)
        return self._mirror_list(kind, about, ordered, asker)

    def _meta4(self, path: bytes, found: FoundFile, asker: Asker, *, is_negotiated: bool) -> Answer:
        """Without the torrent for who asked for the file: aria2 would go on seeding for ever."""
        ordered = self._ordered(path, found, asker)
        if not self._has_sources(ordered, found):
            return answers.NO_MIRROR
        key = (Form.META4, found.number, asker.is_https, is_negotiated)

        def work(composed: Composed) -> Answer:
            quoted = escape(quote_text(found.relative)).encode()
            urls, tag = self._sourcing.elements(ordered, quoted, metalink4.url_front, 1)
            return composed.answer(urls, tag, asker.fields)

        def make() -> Composed:
            about = self.about(path, found, Ordered.none(ordered), asker)
            if is_negotiated:
                about = replace(about, magnet="")
            text = metalink4.metalink4(
                about,
                self._pieces(found).get("pieces", b""),
                self._signature(found),
                self._state.published_at,
                _BETWEEN,
            )
            front, _, back = text.encode().partition(_BETWEEN.encode())
            about_it = OWN + VARY_ACCEPT + _disposition(f"{about.name}.meta4")
            made = Composed.of(front, back, metalink4.MEDIA_TYPE, about_it)
            return self._contents.keep(key, made)

        ready = self._contents.composed(key)
        if ready is None and found.size_bytes // PIECE_BYTES > limits.INLINE_PIECES:
            return answers.deferred(lambda: work(make()))
        return work(ready or make())

    def _mirror_list(self, kind: str, about: AboutFile, ordered: Ordered, asker: Asker) -> Content:
        if kind == "text":
            text = lists.as_text(about.sources, [])
            return Content.of(text.encode(), answers.TEXT, OWN + VARY_ACCEPT)
        about = replace(about, sources=self._sourcing.costed(about.sources, ordered, asker.client))
        if kind == "json":
            text = lists.as_json(_about_json(about), about.sources)
            return Content.of(text.encode(), answers.JSON, OWN + VARY_ACCEPT + CORS)
        return Content.of(mirrors_page(about).encode(), answers.HTML, OWN + VARY_ACCEPT)

    def about(self, path: bytes, found: FoundFile, ordered: Ordered, asker: Asker) -> AboutFile:
        """All that the forms tell of the file."""
        tree = self._state.trees[found.tree]
        quoted = quote_text(found.relative)
        sources = self._sourcing.sources(ordered, quoted)
        sources += self._sourcing.of_edge(found.tree, [found.fileset], quoted + PLAIN_QUERY)
        sources += self._sourcing.of_project(
            found.tree, found.relative, quoted, is_https=asker.is_https
        )
        signature = None
        if found.flags & FLAG_SIGNED:
            signature = self._state.signature_of(found.tree, found.relative)
        about = AboutFile(
            href="/" + quote_text(path),
            name=found.relative.rpartition(b"/")[2].decode("utf-8", "replace"),
            size_bytes=found.size_bytes,
            mtime_s=found.mtime_s,
            public_url=self._public_url,
            sources=sources,
            client_place=self._sourcing.place_of(asker.client),
            digests=self.digests(found),
            signature_href=tree.prefix + quote_text(signature) if signature else "",
            has_zsync=bool(found.flags & FLAG_ZSYNC),
            publisher=tree.publisher,
            publisher_url=tree.publisher_url,
            notices=self._state.notice.notices,
        )
        if not found.flags & FLAG_TORRENT:
            return about
        seeds = [source.url for source in sources]
        magnet = self._torrent(found).magnet(self._url_of(about, "torrent"), seeds)
        return replace(about, magnet=magnet)

    def alternates(self, found: FoundFile) -> list[metalink3.Alternate]:
        """What stood under its name before, the newest first."""
        replaced = self._state.names[found.tree].replaced.get(found.relative)
        if replaced is None:
            return []
        return [
            metalink3.Alternate(former.mtime_s, former.size_bytes, former.digests)
            for former in replaced.formers
        ]

    def _url_of(self, about: AboutFile, suffix: str) -> str:
        return f"{self._public_url}{about.href[1:]}.{suffix}"

    def _pieces(self, found: FoundFile) -> dict[str, bytes]:
        return unpack(self._state.record(found, "pieces") or b"")

    def _torrent(self, found: FoundFile) -> torrent.Torrent:
        pieces = self._pieces(found)
        root = unpack(self._state.record(found, "details") or b"")["root"]
        return torrent.Torrent(
            name=found.relative.rpartition(b"/")[2].decode("utf-8", "replace"),
            size_bytes=found.size_bytes,
            mtime_s=found.mtime_s,
            pieces_sha1=pieces["pieces_sha1"],
            root=root,
            layer=pieces.get("layer", b""),
            trackers=self._state.trees[found.tree].trackers,
        )

    def _signature(self, found: FoundFile) -> str:
        """Its armoured OpenPGP signature, if the state carries one."""
        if not found.flags & FLAG_SIGNED:
            return ""
        name = self._state.signature_of(found.tree, found.relative)
        signature = self._state.shards_of(found.tree).find(name) if name else None
        if signature is None or not signature.flags & FLAG_BODY:
            return ""
        body = self._state.record(signature, "bodies") or b""
        return body.decode("ascii", "replace") if body.startswith(SIGNATURE_BEGIN) else ""


def _way(asker: Asker) -> tuple[int, bool, bool]:
    return asker.client.zone, asker.client.is_ipv6, asker.is_https


def _list_kind(fields: Fields) -> str:
    if prefers_json(fields.accept):
        return "json"
    return "html" if accepts_html(fields.accept) else "text"


def _disposition(name: str) -> bytes:
    """RFC 6266: the name it is saved under.

    aria2 takes a metalink at the file's own URL for the file, and saves it in its place, unless it
    is told of another name.
    """
    plain = "".join(char if " " <= char <= "~" and char not in '\\"' else "_" for char in name)
    return f'Content-Disposition: attachment; filename="{plain}"\r\n'.encode()


def _type_of(relative: bytes, body: bytes) -> str:
    """Text for what is text by its name and its bytes; nothing that a browser would run."""
    if relative.endswith(_TEXT_SUFFIXES) or body.startswith(SIGNATURE_BEGIN):
        try:
            body.decode("utf-8")
        except UnicodeDecodeError:
            return BYTES_TYPE
        return answers.TEXT
    return BYTES_TYPE


def _about_json(about: AboutFile) -> dict[str, object]:
    place = about.client_place
    modified = datetime.fromtimestamp(about.mtime_s, UTC).isoformat()
    return {
        "path": about.href,
        "size_bytes": about.size_bytes,
        "modified": modified,
        "digests": {name: digest.hex() for name, digest in about.digests.items()},
        "magnet": about.magnet or None,
        "signature": about.signature_href or None,
        "client": {"country": place.country or None, "asn": place.asn or None},
    }
