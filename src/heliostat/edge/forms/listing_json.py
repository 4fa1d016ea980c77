"""A folder as JSON, for programs."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from heliostat.edge.forms.about import Listing, ListingEntry


def listing_json(listing: Listing) -> str:
    """One page of a folder; `next` is the query that gives the next one, or null."""
    return (
        json.dumps(
            {
                "path": listing.href,
                "files_below": listing.files_below,
                "entries": [_entry(entry) for entry in listing.entries],
                "next": f"?after={listing.next_after}" if listing.next_after else None,
            },
            indent=1,
        )
        + "\n"
    )


def _entry(entry: ListingEntry) -> dict[str, Any]:
    if entry.is_folder:
        return {"name": entry.name, "href": entry.href, "type": "folder"}
    if entry.alias_of:
        return {"name": entry.name, "href": entry.href, "type": "alias", "of": entry.alias_of}
    return {
        "name": entry.name,
        "href": entry.href,
        "type": "file",
        "size_bytes": entry.size_bytes,
        "modified": datetime.fromtimestamp(entry.mtime_s, UTC).isoformat(),
    }
