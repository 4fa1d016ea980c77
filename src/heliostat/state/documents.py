"""The JSON files of a state: mirrors, trees, shards, notice; each way, with one schema.

pydantic checks them when a state is opened: a state that was signed but badly made is refused
before it replaces a good one.
"""

from __future__ import annotations

from typing import Self, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from heliostat.model.mirror import Mirror, MirrorKind
from heliostat.model.place import Place
from heliostat.model.tree import AliasAnswer, Moved, Removed, Repository, Tree
from heliostat.state.errors import DamagedStateError

DocumentT = TypeVar("DocumentT", bound="Document")


class Document(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    def to_bytes(self) -> bytes:
        return self.model_dump_json().encode()


class EndpointDocument(Document):
    tree: str
    scheme: str
    url: str
    alive: bool
    reason: str = ""
    broken_families: list[int] = []
    """Address families (4, 6) by which it doesn't answer, though its name has them."""


class MirrorDocument(Document):
    """One mirror: what people declared, what the probes saw, where it is reached."""

    name: str
    kind: MirrorKind
    sponsor: str
    country: str
    continent: str
    subdivision: str
    latitude: float | None
    longitude: float | None
    asns: list[int]
    networks: list[int]
    """Indexes into `MirrorsDocument.networks`."""
    private: bool
    bandwidth_mbps: int
    exclude_countries: list[str]
    max_file_bytes: int
    has_ipv4: bool
    has_ipv6: bool
    why_out: str
    price_ms: float = 0.0
    """Of a slow line."""
    scarcity_ms: float = 0.0
    """Of scarce bytes: what the budget and the capacity ask for now."""
    capacity_bytes_per_s: float = 0.0
    """Redirected bytes that its line takes, of all nodes together; 0: no limit is known."""
    charged: bool = False
    """It has a budget: a node sends clients there against an allowance only."""
    completion: list[float] = []
    """Of a file's bytes, what a redirect comes to, by size class; what a node charges."""
    only_beyond_ms: float = 0.0
    first_hours: float = 0.0
    pops: list[tuple[float, float]] = []
    endpoints: list[EndpointDocument]

    def to_mirror(self, networks: list[str]) -> Mirror:
        return Mirror(
            name=self.name,
            kind=self.kind,
            sponsor=self.sponsor,
            place=Place(
                country=self.country,
                continent=self.continent,
                subdivision=self.subdivision,
                asn=self.asns[0] if self.asns else 0,
                latitude=self.latitude,
                longitude=self.longitude,
            ),
            asns=tuple(self.asns),
            networks=tuple(networks[index] for index in self.networks),
            private=self.private,
            bandwidth_mbps=self.bandwidth_mbps,
            exclude_countries=tuple(self.exclude_countries),
            max_file_bytes=self.max_file_bytes,
            has_ipv4=self.has_ipv4,
            has_ipv6=self.has_ipv6,
            only_beyond_ms=self.only_beyond_ms,
            first_hours=self.first_hours,
            pops=tuple(self.pops),
        )


class MirrorsDocument(Document):
    networks: list[str]
    mirrors: list[MirrorDocument]


class RepositoryDocument(Document):
    name: str
    path: str
    arches: list[str]


class MovedDocument(Document):
    path: str
    target: str


class RemovedDocument(Document):
    path: str
    successor: str
    hint: str


class TreeDocument(Document):
    name: str
    prefix: str
    fallback: list[str]
    origin: str
    http_may_get_https: bool
    metadata: list[str] = []
    """Patterns of files for which no fallback is used: it may have old ones."""
    canary: str | None
    """Relative path, latin-1, of a file that health checks resolve; None for an empty tree."""
    publisher: str = ""
    publisher_url: str = ""
    trackers: list[str] = []
    sums: list[str] = []
    repositories: list[RepositoryDocument] = []
    moved: list[MovedDocument] = []
    removed: list[RemovedDocument] = []

    @classmethod
    def of(cls, tree: Tree, canary: str | None) -> Self:
        return cls(
            name=tree.name,
            prefix=tree.prefix,
            fallback=list(tree.fallback),
            origin=tree.origin,
            http_may_get_https=tree.http_may_get_https,
            metadata=list(tree.metadata),
            canary=canary,
            publisher=tree.publisher,
            publisher_url=tree.publisher_url,
            trackers=list(tree.trackers),
            sums=list(tree.sums),
            repositories=[
                RepositoryDocument(name=one.name, path=one.path, arches=list(one.arches))
                for one in tree.repositories
            ],
            moved=[MovedDocument(path=one.path, target=one.target) for one in tree.moved],
            removed=[
                RemovedDocument(path=one.path, successor=one.successor, hint=one.hint)
                for one in tree.removed
            ],
        )

    def to_tree(self) -> Tree:
        return Tree(
            name=self.name,
            root="",
            prefix=self.prefix,
            fallback=tuple(self.fallback),
            origin=self.origin,
            http_may_get_https=self.http_may_get_https,
            metadata=tuple(self.metadata),
            publisher=self.publisher,
            publisher_url=self.publisher_url,
            trackers=tuple(self.trackers),
            sums=tuple(self.sums),
            repositories=tuple(
                Repository(one.name, one.path, tuple(one.arches)) for one in self.repositories
            ),
            moved=tuple(Moved(one.path, one.target) for one in self.moved),
            removed=tuple(Removed(one.path, one.successor, one.hint) for one in self.removed),
        )


class TreesDocument(Document):
    trees: list[TreeDocument]


class ShardDocument(Document):
    tree: int
    first: str
    """First path, relative, latin-1 (paths are bytes; JSON has text)."""
    role: str
    count: int
    filesets: list[int]
    is_plain: bool
    """Every path means itself in a URL."""


class ShardsDocument(Document):
    filesets: list[str]
    """One bit a mirror, lowest bit of the first byte first, as hexadecimal."""
    fresh: list[int] = []
    """The filesets of files that are new: a CDN with `first_hours` is their first choice."""
    shards: list[ShardDocument]


class AliasDocument(Document):
    """Paths are relative to the tree, latin-1."""

    path: str
    target: str
    answer: AliasAnswer


class FormerDocument(Document):
    """What stood under a name before; digests are hexadecimal."""

    size_bytes: int
    mtime_s: int
    digests: dict[str, str]


class ReplacedDocument(Document):
    """A file of which mirrors one step behind have an earlier content."""

    path: str
    """Relative, latin-1."""
    formers: list[FormerDocument]
    """Newest first."""
    behind: str
    """The mirrors that may have them, in the form of a fileset."""


class TreeNamesDocument(Document):
    aliases: list[AliasDocument] = []
    replaced: list[ReplacedDocument] = []


class NamesDocument(Document):
    """Of every tree, in their order, what stands beside its shards."""

    trees: list[TreeNamesDocument]


class NoticeDocument(Document):
    version: int
    heliostat: str
    notices: list[str]
    """Attributions of the geo data, as their licences ask."""


def parse(document: type[DocumentT], raw: bytes | memoryview, where: str) -> DocumentT:
    """`raw` as a `document`.

    Raises:
        DamagedStateError: not of that form; `where` is named.
    """
    try:
        return document.model_validate_json(bytes(raw))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise DamagedStateError(
            f"{where}: {place or 'the file'}: {first['msg']}; publish the state again"
        ) from None
