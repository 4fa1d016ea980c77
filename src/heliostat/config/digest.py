"""A digest of the configuration that should be equal on all nodes; no secret is in it."""

from __future__ import annotations

import hashlib
import json
from typing import Final

from heliostat.config.schema import Config

DIGEST_CHARS: Final = 16


def common_digest(config: Config) -> str:
    """Hexadecimal, of the list of nodes (without tokens) and the public URL."""
    nodes = [node.model_dump(exclude={"token_sha256"}) for node in config.nodes]
    common = {
        "nodes": sorted(nodes, key=lambda node: node["name"]),
        "public_url": config.edge.public_url,
    }
    text = json.dumps(common, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:DIGEST_CHARS]
