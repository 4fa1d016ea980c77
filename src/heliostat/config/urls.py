"""The one check of every base URL that people write: endpoints, fallbacks, origins, public_url.

Promises: what passes is printable ASCII that a path can be put behind, and nothing that reads it
later (resolvers, rsync, HTTP clients, a Location header) can stumble over it or read it in two
ways. A host that looks like an address is one in its usual form, because old resolvers read
"127.1" and "2130706433" as addresses, too.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence

MAX_URL_CHARS = 2000
MAX_HOST_CHARS = 253
MAX_LABEL_CHARS = 63
"""Of a name and of each part of it (RFC 1035 2.3.4, written without the last dot)."""
MAX_PORT = 65535

_FORM = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<authority>[^/?#]*)(?P<path>[^?#]*)(?P<rest>.*)"
)
_AUTHORITY = re.compile(
    r"(?:(?P<user>[^@]*)@)?(?P<host>\[[^\]]*\]|[^\[\]:@]*)(?::(?P<port>[^:@]*))?"
)
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_USER = re.compile(r"[A-Za-z0-9._-]{1,64}")
_PATH_CHARS = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=:@/%-]*")
"""pchar and "/" (RFC 3986 3.3)."""
_BAD_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_CONTROL_PERCENT = re.compile(r"%(?:[01][0-9A-Fa-f]|7[Ff])")


def base_url(value: str, schemes: Sequence[str]) -> str:
    """`value` as a base URL of one of `schemes`: scheme and host in lower case, "/" at the end.

    An rsync URL may name a user (rsync://USER@HOST/MODULE/), as some lists of mirrors have it.

    Raises:
        ValueError: what is wrong with it, and how to write it.
    """
    if len(value) > MAX_URL_CHARS:
        raise ValueError(f"is longer than {MAX_URL_CHARS} characters")
    if odd := re.search(r"[^!-~]", value):
        char = odd[0] if odd[0].isprintable() else f"U+{ord(odd[0]):04X}"
        raise ValueError(
            f'{_shown(value)} has "{char}" in it: a URL is ASCII without spaces; write the host in'
            " its IDNA form (xn--…) and percent-encode the path (a space is %20)"
        )
    wanted = " or ".join(f"{scheme}://" for scheme in schemes)
    found = _FORM.fullmatch(value)
    if found is None or found["scheme"].lower() not in schemes:
        raise ValueError(f'"{value}" is not a {wanted} URL')
    scheme = found["scheme"].lower()
    authority = _AUTHORITY.fullmatch(found["authority"])
    if authority is None:
        raise ValueError(f'"{value}" has no HOST or HOST:PORT (IPv6 as [::1]:8080) behind //')
    user = _user(value, authority["user"], scheme)
    host = _host(value, authority["host"].lower())
    port = _port(value, authority["port"])
    if found["rest"]:
        raise ValueError(f'"{value}" has a query or fragment; give the folder\'s plain URL')
    path = _path(value, found["path"])
    return f"{scheme}://{user}{host}{port}{path}"


def check_host(host: str) -> None:
    """Whether `host` (lower case, IPv6 in brackets) is a name or an address in its usual form.

    Raises:
        ValueError: it is none, as a phrase about it.
    """
    if host.startswith("["):
        _check_ipv6(host)
        return
    if not host:
        raise ValueError("is missing")
    if len(host) > MAX_HOST_CHARS:
        raise ValueError(f"is longer than {MAX_HOST_CHARS} characters")
    labels = host.split(".")
    if "" in labels:
        raise ValueError("has nothing between two dots, or a dot at its begin or end")
    for label in labels:
        if len(label) > MAX_LABEL_CHARS:
            raise ValueError(f"has a part of more than {MAX_LABEL_CHARS} characters")
        if not _LABEL.fullmatch(label):
            raise ValueError(f'has the part "{label}": letters, digits and "-" inside are allowed')
    if is_odd_address(host):
        raise ValueError('looks like an address but isn\'t one in its usual form, "192.0.2.7"')


def is_odd_address(host: str) -> bool:
    """Whether `host` is a number to old resolvers, and not in the form that everyone reads alike.

    No name ends in a number (https://url.spec.whatwg.org/#ends-in-a-number-checker), so one that
    does is an address, and then only four decimal numbers without leading zeros will do.
    """
    last = host.lower().removesuffix(".").rpartition(".")[2]
    if not _NUMBER.fullmatch(last):
        return False
    try:
        ipaddress.IPv4Address(host)
    except ValueError:
        return True
    return False


def _check_ipv6(host: str) -> None:
    text = host.removeprefix("[").removesuffix("]")
    try:
        address = ipaddress.IPv6Address(text)
    except ValueError:
        raise ValueError("is no IPv6 address") from None
    if address.scope_id is not None or str(address) != text:
        plain = ipaddress.IPv6Address(int(address))
        raise ValueError(f"is an IPv6 address in an unusual form; write [{plain}]")


def _user(value: str, user: str | None, scheme: str) -> str:
    if user is None:
        return ""
    if scheme != "rsync":
        raise ValueError(f"{_shown(value)} has a user name in it; such URLs are public, leave it")
    if not _USER.fullmatch(user):
        raise ValueError(
            f"{_shown(value)} has more than a plain user name before the @; a password can't stand"
            " there, as everyone may read it"
        )
    return f"{user}@"


def _host(value: str, host: str) -> str:
    try:
        check_host(host)
    except ValueError as error:
        raise ValueError(f'"{value}": the host "{host}" {error}') from None
    return host


def _port(value: str, port: str | None) -> str:
    if not port:  # "host:" is allowed and means the scheme's own (RFC 3986 3.2.3)
        return ""
    if not re.fullmatch(r"[0-9]{1,5}", port) or not 1 <= int(port) <= MAX_PORT:
        raise ValueError(f'"{value}": the port "{port}" is no number from 1 to {MAX_PORT}')
    return f":{int(port)}"


def _path(value: str, path: str) -> str:
    if not _PATH_CHARS.fullmatch(path):
        raise ValueError(
            f'"{value}" has a character that must be percent-encoded (\'"<>\\^`{{|}}[])'
        )
    if _BAD_PERCENT.search(path):
        raise ValueError(f'"{value}" has a % without two hexadecimal digits; % itself is %25')
    if control := _CONTROL_PERCENT.search(path):
        raise ValueError(f'"{value}" has the control character {control[0]}; take it out')
    return path if path.endswith("/") else path + "/"


def _shown(value: str) -> str:
    """Quoted, and without what can't be shown or shouldn't be: control characters, a password."""
    hidden = re.sub(r"//([^/@:]*):[^/@]*@", r"//\1:…@", value)
    return '"' + "".join(char if char.isprintable() else "�" for char in hidden) + '"'
