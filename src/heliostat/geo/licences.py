"""Whose data a source is and on what terms: what its header says, and what is known of its kind.

A licence nobody states is shown as NOT_STATED, never guessed: the terms of a geo source bind the
project that publishes state made from it.
"""

from __future__ import annotations

from collections.abc import Mapping

NOT_STATED = "not stated in the file"

CC_BY = "CC BY 4.0"
DBIP_ATTRIBUTION = "IP Geolocation by DB-IP (https://db-ip.com)"
MAXMIND_ATTRIBUTION = (
    "This product includes GeoLite Data created by MaxMind, available from https://www.maxmind.com"
)


def of_mmdb(database_type: str, description: Mapping[str, str]) -> tuple[str, str]:
    """(licence, attribution) of an MMDB file by its type and description."""
    text = " ".join((database_type, *(str(value) for value in description.values())))
    if "dbip" in text.lower() or "db-ip" in text.lower():
        return ("DB-IP terms; CC BY 4.0 for the Lite files", DBIP_ATTRIBUTION)
    if "geolite" in text.lower():
        return ("GeoLite End User License Agreement", MAXMIND_ATTRIBUTION)
    if "geoip" in text.lower():
        return ("MaxMind End User License Agreement", MAXMIND_ATTRIBUTION)
    if "ipinfo" in text.lower():
        return ("IPinfo terms; CC BY-SA 4.0 for the free files", "IP address data by IPinfo")
    return (NOT_STATED, "")


def of_comments(comments: list[str]) -> tuple[str, str]:
    """(licence, attribution) from the comment lines at the head of a range file."""
    licence, vendor, address = "", "", ""
    for line in comments:
        key, separator, value = line.lstrip("# ").partition(":")
        if separator and key.strip().lower() == "license":
            licence = value.strip()
        elif separator and key.strip().lower() == "vendor":
            vendor = value.strip()
        if "https://location.ipfire.org" in line:
            address = "IPFire Location (https://location.ipfire.org)"
    return (licence or NOT_STATED, address or vendor)
