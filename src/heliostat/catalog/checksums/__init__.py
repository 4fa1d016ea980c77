"""Checksum files beside the files: the source of digests for trees whose bytes aren't local.

    kind_of(path)                        is this a checksum file, and of which form?
    read_claims(file, path, kind)        what it says, as a stream of claims
    by_hash_claim(path)                  what a Debian by-hash name says of itself

Promises: pure but for the file handed in; bounded in lines, claims and unpacked bytes; a file
that can't be read is a ChecksumFileError with a phrase about it.
"""

from heliostat.catalog.checksums.claims import ChecksumFileError, Claim
from heliostat.catalog.checksums.kinds import Kind, KindName, by_hash_claim, kind_of
from heliostat.catalog.checksums.read import read_claims

__all__ = [
    "ChecksumFileError",
    "Claim",
    "Kind",
    "KindName",
    "by_hash_claim",
    "kind_of",
    "read_claims",
]
