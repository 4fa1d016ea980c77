"""Makes the secrets of private/secrets.yml: what a project needs by what it uses.

Every secret is 256 random bits from the system; nothing here derives one from another.
"""

from __future__ import annotations

import base64
import hashlib
import secrets as random
from collections.abc import Mapping
from typing import Any, Final

from heliostat.infra import yamltext
from heliostat.infra.answers import Answers

SECRET_BYTES: Final = 32
NODE_TOKENS: Final = "heliostat_node_tokens"
MIRROR_TOKENS: Final = "heliostat_mirror_tokens"
TSIG_NAME: Final = "heliostat"
TSIG_ALGORITHM: Final = "hmac-sha256"

BY_HAND: Final = """\
# Further secrets, as you come to have them:
# heliostat_aws:                      # for Route 53: a key that may change the zone only
#   access_key_id: ""
#   secret_access_key: ""
# heliostat_backup_repository_env:    # for where backups go, such as
#   AWS_ACCESS_KEY_ID: ""
# heliostat_alert_urls: []            # where alerts are sent to
"""


def token() -> str:
    """256 bits that stand in URLs, headers and files as they are."""
    return random.token_urlsafe(SECRET_BYTES)


def tsig_key() -> str:
    return base64.b64encode(random.token_bytes(SECRET_BYTES)).decode()


def make_secrets(answers: Answers) -> dict[str, Any]:
    """The content of secrets.yml for a new project."""
    found: dict[str, Any] = {
        NODE_TOKENS: {server.name: token() for server in answers.having("edge")}
    }
    if mirrors := answers.having("mirror"):
        found[MIRROR_TOKENS] = {server.hostname or server.name: token() for server in mirrors}
    if answers.dns.provider == "powerdns":
        found["heliostat_powerdns_api_key"] = token()
    if answers.dns.provider in ("powerdns", "rfc2136"):
        found["heliostat_tsig"] = {
            "name": TSIG_NAME,
            "algorithm": TSIG_ALGORITHM,
            "key": tsig_key(),
        }
    found["heliostat_backup_password"] = token()
    return found


def token_hashes(values: Mapping[str, Any]) -> dict[str, str]:
    """Mirror → SHA-256 of its token, as its mirror file has it."""
    return {name: token_sha256(one) for name, one in values.get(MIRROR_TOKENS, {}).items()}


def token_sha256(value: str) -> str:
    """As mirror files and [[node]] have it."""
    return hashlib.sha256(value.encode()).hexdigest()


def secrets_text(values: Mapping[str, Any]) -> str:
    """secrets.yml as it is written."""
    return f"{yamltext.dump(values)}{BY_HAND}"
