"""The settings of a tree: where it is read from, where it stands, what clients get of it."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from heliostat.config.section import (
    BaseUrl,
    Name,
    OptionalUrl,
    Prefix,
    Section,
    local_path,
)
from heliostat.config.toml import FaultAtError
from heliostat.model.templates import TemplateError, fields_of
from heliostat.model.tree import (
    CARRIED_MAX_BYTES,
    AliasAnswer,
    AliasRule,
    Moved,
    Removed,
    Repository,
    Tree,
    VersionOrder,
)

MAX_PATTERNS = 100
MAX_TRACKERS = 16
MAX_REPOSITORIES = 1_000
MAX_RULES = 100
MAX_PATH_CHARS = 1_000
VERSION = "version"


def _template(value: str) -> str:
    try:
        fields_of(value)
    except TemplateError as error:
        raise ValueError(str(error)) from None
    return value


def _tracker(value: str) -> str:
    if not re.fullmatch(r"(https?|udp|wss?)://[!-~]+", value):
        raise ValueError(f'"{value}" is no tracker such as "https://tracker.example.org/announce"')
    return value


def _folder(value: str) -> str:
    return value if value.endswith("/") or not value else value + "/"


Pattern = Annotated[str, Field(min_length=1, max_length=255)]
Patterns = list[Pattern]
Template = Annotated[str, Field(min_length=1, max_length=MAX_PATH_CHARS), AfterValidator(_template)]
TrackerUrl = Annotated[str, Field(max_length=MAX_PATH_CHARS), AfterValidator(_tracker)]


class RepositorySection(Section):
    """A package repository, for `/mirrorlist?repo=` and `/metalink?repo=`."""

    name: Name = Field(description="what clients ask for")
    path: Annotated[
        str, Field(max_length=MAX_PATH_CHARS), AfterValidator(_template), AfterValidator(_folder)
    ] = Field(description="its folder in the tree; `{arch}` is the architecture")
    arches: list[Annotated[str, Field(min_length=1, max_length=63)]] = Field(
        default=[], max_length=100, description="architectures it has; none: any with a folder"
    )

    @model_validator(mode="after")
    def _only_arch(self) -> Self:
        if odd := set(fields_of(self.path)) - {"arch"}:
            raise FaultAtError(
                ("path",), f"a repository has no field {{{min(odd)}}}; only {{arch}} is known"
            )
        return self


class AliasSection(Section):
    """A path such as latest/… that stands for the file with the highest version."""

    path: Template = Field(description="what people ask for, with `{fields}`")
    target: Template = Field(description="the file, with the same fields and `{version}`")
    order: Literal["natural", "pep440", "debian"] = Field(
        default="natural", description="how versions are put in order"
    )
    prereleases: bool = Field(default=False, description="true: release candidates count, too")
    answer: Literal["file", "mirror"] = Field(
        default="file", description="redirect to the file's own path, or straight to its mirror"
    )

    @model_validator(mode="after")
    def _same_fields(self) -> Self:
        if missing := set(fields_of(self.path)) - set(fields_of(self.target)):
            raise FaultAtError(
                ("path",),
                f"{{{min(missing)}}} doesn't stand in target, so nothing says what it is",
            )
        if VERSION in fields_of(self.path):
            raise FaultAtError(
                ("path",), "{version} is what the alias finds; it can't stand in its own path"
            )
        return self


class MovedSection(Section):
    """Files that stand elsewhere now: 301."""

    path: Template = Field(
        description="where they were, with `{fields}`; `{rest}` at the end takes folders, too"
    )
    target: Template = Field(description="where they are, with the same fields")

    @model_validator(mode="after")
    def _same_fields(self) -> Self:
        if missing := set(fields_of(self.target)) - set(fields_of(self.path)):
            raise FaultAtError(
                ("target",), f"{{{min(missing)}}} doesn't stand in path; add it there"
            )
        return self


class RemovedSection(Section):
    """Files that are gone for good: 410."""

    path: Pattern = Field(description="pattern of what was there")
    successor: str = Field(
        default="", max_length=MAX_PATH_CHARS, description="path in the tree of what to take now"
    )
    hint: str = Field(default="", max_length=500, description="a sentence for people")


class TreeSection(Section):
    """One published file tree."""

    name: Name = Field(
        description="what the tree is called everywhere: a-z, 0-9, `.`, `_`, `-`, at most 63"
    )
    root: Annotated[str, AfterValidator(local_path)] = Field(
        description="what is published: a folder, or where it is read from: `rsync://`, `https://`,"
        " `s3://BUCKET/PREFIX`, `USER@HOST:/PATH` (rsync over ssh)"
    )
    prefix: Prefix = Field(default="/", description="where it stands on the edges")
    fallback: list[BaseUrl] = Field(default=[], description="used when no mirror can serve a file")
    origin: OptionalUrl = Field(default="", description="the project's own server, the last resort")
    digests: list[Literal["sha1", "md5", "sha512"]] = Field(
        default=[], description="digests beside sha256"
    )
    match_times: bool = Field(default=False, description="true: times of files must agree, too")
    http_may_get_https: bool = Field(
        default=True, description="true: http clients may be sent to https mirrors"
    )

    metadata: Patterns = Field(
        default=[],
        max_length=MAX_PATTERNS,
        description="patterns of files that only mirrors with the current bytes serve",
    )
    timestamp_file: str = Field(
        default="", max_length=255, description="file that says from when the tree is"
    )
    file_list: str = Field(
        default="",
        max_length=2000,
        description="remote roots: a list of the files, read instead",
    )
    checksum_files: bool = Field(
        default=True, description="remote roots: take digests from `SHA256SUMS` and its like"
    )
    s3_endpoint: OptionalUrl = Field(default="", description="S3-compatible store; empty: AWS")
    s3_region: str = Field(default="", max_length=63, description="its region")
    publisher: str = Field(
        default="", max_length=200, description="who publishes it, for metalinks and pages"
    )
    publisher_url: OptionalUrl = Field(default="", description="the publisher's page")
    torrents: Patterns = Field(
        default=[], max_length=MAX_PATTERNS, description="patterns of files that have a torrent"
    )
    trackers: list[TrackerUrl] = Field(
        default=[],
        max_length=MAX_TRACKERS,
        description="announced in torrents; none is needed, mirrors are web seeds",
    )
    zsync: Patterns = Field(
        default=[],
        max_length=MAX_PATTERNS,
        description="patterns of files with a zsync control file (needs `zsyncmake`)",
    )
    carried: Patterns = Field(
        default=[],
        max_length=MAX_PATTERNS,
        description="patterns of small files that edges serve themselves, beside signatures,"
        " checksum files and keys",
    )
    carried_max_bytes: int = Field(
        default=CARRIED_MAX_BYTES,
        ge=0,
        le=16 * 1024 * 1024,
        description="largest file that edges serve themselves",
    )
    sums: list[Literal["sha256", "sha512", "sha1", "md5"]] = Field(
        default=[], description="digests of which each folder has a list, such as `SHA256SUMS`"
    )
    repositories: list[RepositorySection] = Field(
        default=[], alias="repository", max_length=MAX_REPOSITORIES
    )
    aliases: list[AliasSection] = Field(default=[], alias="alias", max_length=MAX_RULES)
    moved: list[MovedSection] = Field(default=[], max_length=MAX_RULES)
    removed: list[RemovedSection] = Field(default=[], max_length=MAX_RULES)

    def to_tree(self) -> Tree:
        return Tree(
            name=self.name,
            root=self.root,
            prefix=self.prefix,
            fallback=tuple(self.fallback),
            origin=self.origin,
            extra_digests=tuple(self.digests),
            match_times=self.match_times,
            http_may_get_https=self.http_may_get_https,
            metadata=tuple(self.metadata),
            timestamp_file=self.timestamp_file,
            file_list=self.file_list,
            checksum_files=self.checksum_files,
            s3_endpoint=self.s3_endpoint,
            s3_region=self.s3_region,
            publisher=self.publisher,
            publisher_url=self.publisher_url,
            torrents=tuple(self.torrents),
            trackers=tuple(self.trackers),
            zsync=tuple(self.zsync),
            carried=tuple(self.carried),
            carried_max_bytes=self.carried_max_bytes,
            sums=tuple(self.sums),
            repositories=tuple(
                Repository(one.name, one.path, tuple(one.arches)) for one in self.repositories
            ),
            aliases=tuple(
                AliasRule(
                    one.path,
                    one.target,
                    VersionOrder(one.order),
                    one.prereleases,
                    AliasAnswer(one.answer),
                )
                for one in self.aliases
            ),
            moved=tuple(Moved(one.path, one.target) for one in self.moved),
            removed=tuple(Removed(one.path, one.successor, one.hint) for one in self.removed),
        )
