"""The HTTP interfaces: what an edge, its admin listener and the manager answer.

The admin listener's and the manager's routes are read from their real applications. The edge's own
protocol has no table of routes to read; its requests stand here as data, and `tests/docs` asks each
of a real edge.
"""

from __future__ import annotations

import ast
import inspect
import json
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from aiohttp import web
from django.conf import settings
from pydantic import BaseModel

from heliostat.edge.processes.admin import INDEX, admin_app
from heliostat.manager.setup import start_django


@dataclass(frozen=True, slots=True)
class Asked:
    """One request that a person or program may send to an edge, and what it is answered with.

    Attributes:
        shown: The target as the page has it.
        target: The same, of the file or folder that the test's edge has.
        accept: The `Accept` field that is sent; "": none.
    """

    shown: str
    target: str
    status: int
    content_type: str
    meaning: str
    accept: str = ""


FILE: Final = "images/one.iso"
FOLDER: Final = "images/"

_JSON = "application/json"
_TEXT = "text/plain"
_HTML = "text/html"

EDGE: Final = (
    Asked("/PATH", f"/{FILE}", 302, "", "a mirror's URL in `Location`, others in `Link`"),
    Asked("/PATH?meta4", f"/{FILE}?meta4", 200, "application/metalink4+xml", "Metalink 4"),
    Asked("/PATH.meta4", f"/{FILE}.meta4", 200, "application/metalink4+xml", "the same"),
    Asked(
        *("/PATH", f"/{FILE}", 200, "application/metalink4+xml", "the same, by `Accept`"),
        accept="application/metalink4+xml",
    ),
    Asked("/PATH.metalink", f"/{FILE}.metalink", 200, "application/metalink+xml", "Metalink 3"),
    Asked("/PATH.sha256", f"/{FILE}.sha256", 200, _TEXT, "a line for `sha256sum -c`"),
    Asked("/PATH.mirrorlist", f"/{FILE}.mirrorlist", 200, _TEXT, "its mirrors, a URL a line"),
    Asked(
        *("/PATH.mirrorlist", f"/{FILE}.mirrorlist", 200, _JSON, "its mirrors, as JSON"),
        accept=_JSON,
    ),
    Asked("/DIR/", f"/{FOLDER}", 200, _HTML, "a page of the folder", accept=_HTML),
    Asked("/DIR/", f"/{FOLDER}", 200, _JSON, "the folder, as JSON", accept=_JSON),
    Asked("/DIR", f"/{FOLDER.rstrip('/')}", 301, "", "to `/DIR/`"),
    Asked(
        "/mirrorlist?path=PATH", f"/mirrorlist?path={FILE}", 200, _TEXT, "base URLs for dnf, yum"
    ),
    Asked(
        *("/metalink?path=PATH", f"/metalink?path={FILE}", 200, "application/metalink+xml"),
        "Metalink 3 for dnf, yum",
    ),
    Asked("/-/healthz", "/-/healthz", 200, _TEXT, "`heliostat ok`, or 503 with the reason"),
    Asked(
        *("/-/explain/PATH?ip=ADDRESS", f"/-/explain/{FILE}?ip=129.187.254.32", 200, _JSON),
        "the decision for that client, every mirror with its reason",
    ),
    Asked(
        *("/-/explain/PATH", f"/-/explain/{FILE}", 200, _HTML, "the same, as a page"),
        accept=_HTML,
    ),
    Asked(
        *("/-/state/metadata/timestamp.json", "/-/state/metadata/timestamp.json", 200, _JSON),
        "where the signed state begins, for other edges",
    ),
    Asked("anything else", "/there/is/no/such.file", 404, "", "no tree has that path"),
)


def routes_of(app: web.Application) -> Iterator[tuple[str, str]]:
    """(method, path) of every route, without those that aiohttp makes for `HEAD`."""
    for route in app.router.routes():
        resource = route.resource
        if route.method != "HEAD" and resource is not None:
            yield route.method, resource.canonical


def admin_routes() -> dict[tuple[str, str], str]:
    """Each route of the admin listener → what its own index says of it."""
    told = {}
    for line in INDEX.splitlines():
        words = line.split(None, 2)
        if len(words) == 3 and words[0] in ("GET", "POST"):
            told[words[0], words[1]] = words[2]
    app = admin_app(lambda: "", dict, lambda wanted: None)
    return {route: told.get(route, "this list") for route in routes_of(app)}


def manager_routes() -> list[tuple[str, str]]:
    with_models()
    from heliostat.config.load import LoadedConfig
    from heliostat.config.schema import Config
    from heliostat.manager.reports.server import report_app
    from heliostat.manager.reports.sight import Sight

    sight = Sight(LoadedConfig(Path(), Config()))
    return list(routes_of(report_app({}, Path(), sight=sight)))


def with_models() -> None:
    """The manager's modules can be imported from here on; no database is met."""
    if not settings.configured:
        start_django({"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"})


def fields_of(form: type[BaseModel]) -> Iterator[tuple[str, str, str, str]]:
    """(key, kind, default, meaning) of every field; the meaning is the string below it in code."""
    meanings = _strings_below(form)
    schema = form.model_json_schema()
    required = set(schema.get("required", ()))
    for name, field in schema["properties"].items():
        default = "required" if name in required else f"`{json.dumps(field.get('default'))}`"
        yield name, _kind(field, schema.get("$defs", {})), default, meanings.get(name, "")


def _strings_below(form: type[BaseModel]) -> dict[str, str]:
    tree = ast.parse(textwrap.dedent(inspect.getsource(form)))
    body = tree.body[0].body  # type: ignore[attr-defined]
    found = {}
    for above, below in pairwise(body):
        if isinstance(above, ast.AnnAssign) and isinstance(below, ast.Expr):
            assert isinstance(above.target, ast.Name)
            found[above.target.id] = " ".join(str(ast.literal_eval(below.value)).split())
    return found


def _kind(field: Mapping[str, Any], defs: Mapping[str, Any]) -> str:
    if "$ref" in field:
        name = field["$ref"].rpartition("/")[2]
        shape = defs[name]
        if "properties" not in shape:
            return _kind(shape, defs)
        return "{" + ", ".join(f"`{key}`" for key in shape["properties"]) + "}"
    if "anyOf" in field:
        return " or ".join(_kind(one, defs) for one in field["anyOf"])
    if "enum" in field:
        return " or ".join(f"`{one}`" for one in field["enum"])
    plain = {"string": "text", "integer": "whole number", "boolean": "true/false", "null": "null"}
    kind = field.get("type", "")
    if kind == "array":
        return f"list of {_kind(field['items'], defs)}"
    if kind == "object":
        return f"name → {_kind(field['additionalProperties'], defs)}"
    return str(plain.get(kind, kind))
