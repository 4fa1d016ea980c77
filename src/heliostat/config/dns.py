"""`[dns]`: under which name the nodes are found, and who answers for it."""

from __future__ import annotations

from heliostat.config.section import Section


class DnsSection(Section):
    """The records of the nodes."""
