"""What all sections of the configuration share: strictness, and the forms of their values."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from heliostat.config.urls import base_url


def checked_base_url(value: str) -> str:
    return base_url(value, ("http", "https"))


def host_port(value: str) -> str:
    if not re.fullmatch(r"(\[[0-9A-Fa-f:]+\]|[^\[\]:]+):\d{1,5}", value) or int(
        value.rpartition(":")[2]
    ) not in range(65536):
        raise ValueError(f'"{value}" is not HOST:PORT (IPv6 as [::1]:8080)')
    return value


def _network(value: str) -> str:
    try:
        return str(ipaddress.ip_network(value, strict=False))
    except ValueError:
        raise ValueError(f'"{value}" is no network, such as 192.0.2.0/24 or ::1/128') from None


def _name(value: str) -> str:
    if not re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,62}", value):
        raise ValueError(
            f'"{value}" can\'t be a name: use a-z, 0-9, ".", "_" and "-", at most 63 of them,'
            " beginning with a letter or digit"
        )
    return value


def _prefix(value: str) -> str:
    parts = value.split("/")
    odd = not value.isprintable() or any(char in value for char in ' ?#%"\\')
    if parts[0] or "" in parts[1:-1] or "." in parts or ".." in parts or odd:
        raise ValueError(
            f'a prefix is a path such as "/" or "/pub/isos/" without spaces, quotes, "?", "#", "%"'
            f" and empty parts, unlike {value!r}"
        )
    return value if value.endswith("/") else value + "/"


def local_path(value: str) -> str:
    if not value or "\0" in value:
        raise ValueError("a path can't be empty or hold a NUL")
    return value


def _path(value: Path) -> Path:
    local_path(str(value) if str(value) != "." else "")
    return value


BaseUrl = Annotated[str, AfterValidator(checked_base_url)]
HostPort = Annotated[str, AfterValidator(host_port)]
Network = Annotated[str, AfterValidator(_network)]
Prefix = Annotated[str, AfterValidator(_prefix)]
Name = Annotated[str, AfterValidator(_name)]


OptionalUrl = Annotated[
    str, AfterValidator(lambda value: checked_base_url(value) if value else value)
]
OptionalHostPort = Annotated[
    str, AfterValidator(lambda value: host_port(value) if value else value)
]
LocalPath = Annotated[Path, Field(strict=False), AfterValidator(_path)]


class Section(BaseModel):
    """What all sections share: unknown keys are errors, and `true` or "3" is no number."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)
